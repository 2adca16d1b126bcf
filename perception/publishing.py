"""How a node's publisher is opened from its configuration, and closed whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from perception.config import NodeConfig, Policy
from perception.engines.engine import Engine, ModelSpec
from perception.pipeline import Stopped
from perception.publisher import Publisher, StreamInfo
from perception.stream import Stream
from perception.wire.curve import ServerKeys

COMPUTED_KINDS = frozenset({"labels", "confidence", "objects", "summary"})


def computed_kinds(spec: ModelSpec) -> frozenset[str]:
    """The kinds for which the network must run: ``image`` too where it enhances the frame."""
    return COMPUTED_KINDS | {"image"} if "image" in spec.outputs else COMPUTED_KINDS


@contextmanager
def closed_at_end(publisher: Publisher) -> Iterator[Publisher]:
    """Say whether it ended or failed, and close; an interruption is no failure."""
    try:
        yield publisher
    except Stopped:
        raise
    except BaseException:
        publisher.close(failed=True)
        raise
    finally:
        publisher.close()


def open_publisher(
    config: NodeConfig,
    keys: ServerKeys | None,
    streams: Sequence[Stream],
    engine: Engine,
    policy: Policy,
    interrupt: threading.Event,
) -> Publisher:
    """A publisher of all streams, bound to the configuration's endpoint. Raises as ``Publisher``."""
    paced = config.pace == "real"
    infos = [
        StreamInfo(
            name=stream.name,
            ledger=stream.ledger,
            expected_fps=config.rate or (stream.source.fps if stream.source.live or paced else None),
            camera=stream.config.calibration.to_wire() if stream.config.calibration else None,
        )
        for stream in streams
    ]
    return Publisher(
        config.publish,
        infos,
        spec=engine.spec,
        engine=engine.name,
        fell_back=engine.fell_back,
        policy=policy,
        insecure=config.insecure,
        keys=keys,
        stop=interrupt,
    )
