"""What every process of a benchmark is told: one node's settings and how many frames count, as a word of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perception.children import started
from perception.choices import choose_mode, choose_network_size, open_node_engine
from perception.config import NodeConfig
from perception.engines.engine import Engine, ModelSpec
from perception.engines.mode import Mode
from perception.errors import RequestError, RoadcastError, SourceError
from perception.types import Size

ENGINE_SETTINGS = ("engine", "model", "device", "mode", "threads", "slots", "size")
SETTINGS = (*ENGINE_SETTINGS, "source", "pace", "rate")  # of a node, as far as a benchmark looks at them


@dataclass(frozen=True, slots=True)
class Task:
    """The settings of the node, which the other contestants take over as far as they have a use for them."""

    config: NodeConfig
    frames: int  # that are counted
    warm_up: int  # frames before them, the first included

    @property
    def needed(self) -> int:
        """Frames that a clip must hold."""
        return self.frames + self.warm_up

    @property
    def mode(self) -> Mode:
        """How the node's engine spends the cores."""
        return choose_mode(self.config, live=False)

    def open_engine(self) -> Engine:
        """The engine as the node opens it. Raises as ``perception.engines.open.open_engine``."""
        return open_node_engine(self.config, live=False)

    def network_size(self, spec: ModelSpec, source_size: Size) -> Size:
        """The (w, h) to which the node brings frames of this (w, h)."""
        return choose_network_size(self.config, spec)(source_size)

    def flags(self) -> dict[str, str]:
        """The engine's settings as flags of ``roadcast run``, without the dashes; those that were left open stay so."""
        given = {name: getattr(self.config, name) for name in ENGINE_SETTINGS}
        if isinstance(given["size"], tuple):
            given["size"] = "x".join(map(str, given["size"]))
        return {name: str(value) for name, value in given.items() if value is not None}

    def to_word(self) -> str:
        """For the command line of a child."""
        config = {name: getattr(self.config, name) for name in SETTINGS}
        return json.dumps({"config": config, "frames": self.frames, "warm_up": self.warm_up})

    @staticmethod
    def from_word(word: str) -> Task:
        """What ``to_word`` made."""
        values = json.loads(word)
        return Task(NodeConfig(**values["config"]), values["frames"], values["warm_up"])


def in_child(module: str, *words: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object that a module prints, run in a process of its own, so that it inherits no caches or threads.

    Raises:
        RequestError, SourceError: the child failed; the message is its own.
    """
    command = [sys.executable, "-m", module, *words]
    with started(command, environment) as child:
        said, complaint = child.communicate()
    if child.returncode:
        lines = complaint.strip().splitlines()
        message = lines[-1] if lines else f"{module} ended with exit code {child.returncode} and no reason."
        raise (RequestError if child.returncode == RequestError.exit_code else SourceError)(message)
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])  # a library may print, too
    return found


def tell(make: Callable[[], Mapping[str, Any]]) -> int:
    """Print what ``make()`` returns as JSON, or its error as one line; returns the exit code."""
    try:
        print(json.dumps(make()))
    except RoadcastError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
