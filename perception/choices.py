"""What a node decides by itself where its configuration leaves it open, and what it must refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from perception.config import NodeConfig, Policy
from perception.engines.engine import Engine, ModelSpec
from perception.engines.mode import Mode
from perception.engines.open import open_engine
from perception.errors import ConfigError
from perception.refinement.settings import CARD_KEY
from perception.types import Size


def choose_policy(config: NodeConfig, *, live: bool) -> Policy:
    """``wait`` for files at full pace, so that nothing is lost; else ``drop_oldest``, so that nobody is held up.

    Raises:
        ConfigError: a camera cannot wait.
    """
    if live and config.policy == "wait":
        raise ConfigError("--policy wait is for files: a camera does not wait. Leave it out, or give drop_oldest.")
    if config.policy is not None:
        return config.policy
    return "wait" if config.pace == "max" and not live else "drop_oldest"


def choose_shedding(config: NodeConfig, policy: Policy, *, live: bool) -> bool:
    """Whether a frame that comes before the one ahead of it was taken makes that one ``stale``, or waits.

    Under ``rate`` frames are due whether or not anybody is ready for them, as those of a camera are.

    Raises:
        ConfigError: a camera cannot be given a rate.
    """
    if live and config.rate is not None:
        raise ConfigError("--rate is for files: a camera comes at its own rate. Leave it out.")
    return live or (config.rate is not None and policy == "drop_oldest")


def choose_mode(config: NodeConfig, *, live: bool) -> Mode:
    """``throughput`` for files at full pace and for several cameras; else ``latency``: frames come one at a time."""
    if config.mode is not None:
        return config.mode
    return "throughput" if (config.pace == "max" and not live) or len(config.cameras) > 1 else "latency"


def open_node_engine(config: NodeConfig, *, live: bool) -> Engine:
    """The engine that a configuration asks for. Raises as ``perception.engines.open.open_engine``."""
    return open_engine(
        config.engine,
        Path(config.model) if config.model else None,
        mode=choose_mode(config, live=live),
        threads=config.threads,
        slots=config.slots,
        device=config.device,
        enhance=config.enhance,
    )


def choose_batch(config: NodeConfig, engine: Engine) -> int:
    """How many frames of one set go into one run of the network: the model's own number, else all on a GPU.

    On a CPU one: the cores are kept busy by frames side by side as well, a frame costs as much in a batch as
    alone, and none has to wait for the others of its set (``benchmarks/cameras.py --batch``).
    """
    on_gpu = engine.name == "tensorrt" or getattr(engine, "on_gpu", False)
    return engine.spec.batch or config.batch or (len(config.cameras) if on_gpu else 1)


def check_mixture(config: NodeConfig, live: Sequence[bool]) -> None:
    """Refuse what would let recordings crowd out cameras.

    Raises:
        ConfigError: recordings at full pace beside cameras.
    """
    if config.pace == "max" and any(live) and not all(live):
        raise ConfigError("--pace max is for files alone: beside a camera they play in real time. Leave it out.")


def check_restart(config: NodeConfig, *, live: bool) -> None:
    """Refuse to begin a recording anew.

    Raises:
        ConfigError: a restart was asked for, and there is no camera.
    """
    if config.on_engine_failure == "restart" and not live:
        raise ConfigError("--on-engine-failure restart is for cameras: a file would begin anew. Leave it out.")


def check_refinement(config: NodeConfig, spec: ModelSpec) -> None:
    """Refuse to refine twice.

    Raises:
        ConfigError: a refinement was asked for, and the model's graph refines already.
    """
    if config.refine is not None and CARD_KEY in spec.card:
        raise ConfigError(
            f"The model {spec.id!r} refines its maps itself ({CARD_KEY} on its card): leave --refine out, or give the "
            "model exported without it."
        )


def choose_network_size(config: NodeConfig, spec: ModelSpec) -> Callable[[Size], Size]:
    """The rule from a frame's (w, h) to the network's.

    Raises:
        ConfigError: the model does not take the size that was asked for.
    """
    size = config.size
    if size is None:
        return spec.network_size
    if spec.fixed_size is not None and size != spec.fixed_size:
        width, height = spec.fixed_size
        raise ConfigError(f"The model {spec.id!r} takes frames of {width}x{height} only: leave --size out.")
    if isinstance(size, int):
        return lambda source_size: spec.network_size(source_size, size)
    if spec.fixed_size is None and any(side % spec.multiple for side in size):
        near = "x".join(str(max(1, round(side / spec.multiple)) * spec.multiple) for side in size)
        raise ConfigError(
            f"The model {spec.id!r} takes sides in multiples of {spec.multiple}, not {size[0]}x{size[1]}: "
            f"give --size {near}."
        )
    return lambda _: size
