"""What a node is told: one frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

from perception.config.camera import CAMERA_RULES, CameraConfig, check_fields
from perception.config.rules import LARGEST_SIDE, Rule, number, one_of, size, switch, text, whole
from perception.engines.mode import DEVICES, MODES, Device, Mode
from perception.errors import ConfigError
from perception.refinement.settings import REFINEMENTS, WEIGHT, Refinement
from perception.sources.source import Pace
from perception.types import Size

Policy = Literal["wait", "drop_oldest"]
OnEngineFailure = Literal["exit", "restart"]
LogFormat = Literal["text", "json"]
PACES: tuple[Pace, ...] = get_args(Pace)
POLICIES: tuple[Policy, ...] = get_args(Policy)
ON_ENGINE_FAILURE: tuple[OnEngineFailure, ...] = get_args(OnEngineFailure)
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
MOST_CAMERAS = 64

# Every setting but the table of cameras, in the order of the fields of NodeConfig.
RULES: Mapping[str, Rule] = {
    **CAMERA_RULES,
    "publish": text("tcp://HOST:PORT or ipc://PATH", r"tcp://\S+:(\d+|\*)|ipc://.+"),
    "insecure": switch(),
    "curve_secret": text("the path of a secret key file", r".+", optional=True),
    "allow": text("the path of a folder or file with clients' public keys", r".+", optional=True),
    "control": text("auto, none, tcp://HOST:PORT or ipc://PATH", r"auto|none|tcp://\S+:(\d+|\*)|ipc://.+"),
    "pace": one_of(*PACES),
    "rate": number(0.1, 10_000, optional=True),
    "frames": whole(1, 2**53, optional=True),
    "policy": one_of(*POLICIES, optional=True),
    "pair_tolerance": number(0, 10),
    "wait_subscribers": whole(0, 1000),
    "model": text("the path of a model file", r".+", optional=True),
    "enhance": text("denoise, lowlight, superres or the path of an ONNX file", r".+", optional=True),
    "engine": text("the name of an engine, such as auto, onnxruntime, openvino or tensorrt", r"\S+"),
    "device": one_of(*DEVICES),
    "mode": one_of(*MODES, optional=True),
    "threads": whole(1, 1024, optional=True),
    "slots": whole(1, 16, optional=True),
    "batch": whole(1, MOST_CAMERAS, optional=True),
    "on_engine_failure": one_of(*ON_ENGINE_FAILURE),
    "size": size(),
    "refine": one_of(*REFINEMENTS, optional=True),
    "refine_weight": number(0, 1000),
    "smooth": switch(),
    "min_object_area": whole(1, LARGEST_SIDE**2),
    "track": switch(),
    "metrics": text("HOST:PORT", r"[^\s/]+:\d{1,5}", optional=True),
    "log_format": one_of(*LOG_FORMATS),
}


@dataclass(frozen=True, kw_only=True)
class NodeConfig(CameraConfig):
    """Everything a node is told. ``None`` means: the node decides, and says what it decided.

    A node with one camera has its settings here; with several, each is a table in ``camera``, and ``source``
    stays empty.

    Raises:
        ConfigError: a value does not fit its setting, or two settings do not go together.
    """

    source: str = ""
    publish: str = "tcp://127.0.0.1:5600"  # where subscribers connect
    insecure: bool = False  # bind beyond this host without keys
    curve_secret: str | None = None  # the node's own key file: subscribers need keys then
    allow: str | None = None  # the clients that may subscribe: a folder or file of their public keys
    control: str = "auto"  # where 'roadcast ctl' reaches it; auto: a socket in this user's run folder
    pace: Pace = "real"  # of files: as recorded, or as fast as it goes
    rate: float | None = None  # of files: frames a second in place of their own times, captured when they are due
    frames: int | None = None  # end after this many; None: at the end of the source
    policy: Policy | None = None  # towards slow subscribers; None: wait for files at full pace, else drop_oldest
    pair_tolerance: float = 0.02  # seconds; frames of several cameras that were captured so close together are a set
    wait_subscribers: int = 0  # begin when this many are there
    model: str | None = None  # an ONNX file; None: the one that comes with the package
    enhance: str | None = None  # a network that improves frames first: one of three names, or an ONNX file
    engine: str = "auto"
    device: Device = "auto"
    mode: Mode | None = None  # many frames a second or each one soon; None: throughput for files at full pace
    threads: int | None = None  # cores the engine may use; None: all
    slots: int | None = None  # frames between submit and result; None: what suits the mode
    batch: int | None = None  # frames of one set in one run of the network; None: all on a GPU, one on a CPU
    on_engine_failure: OnEngineFailure = "exit"  # end the process, or begin anew: for cameras
    size: Size | int | None = None  # (w, h) of the network's input, or its pixel budget; None: the model's own
    refine: Refinement | None = None  # labels that follow the edges of the picture
    refine_weight: float = WEIGHT  # how far the picture's edges overrule the model; of crf alone
    smooth: bool = False  # labels that do not flicker from one frame to the next
    min_object_area: int = 64  # pixels of a map of 1024x512, scaled to the map at hand; smaller things are no objects
    track: bool = True  # objects keep their numbers from frame to frame, while anybody wants objects

    metrics: str | None = None  # where /metrics, /healthz and /readyz are served
    log_format: LogFormat = "text"  # of what the command says while it runs

    camera: tuple[CameraConfig, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, {name: rule for name, rule in RULES.items() if name != "source" or not self.camera})
        if self.rate is not None and self.pace == "max":
            raise ConfigError("--rate paces a file, --pace max asks for none: leave one of them out.")
        if self.refine_weight != WEIGHT and self.refine != "crf":
            raise ConfigError("--refine-weight is of --refine crf: give both, or neither.")
        if self.camera and self.source:
            raise ConfigError(
                f"The source {self.source!r} and [[camera]] tables exclude each other: give one of the two."
            )
        if len(self.camera) > MOST_CAMERAS:
            raise ConfigError(f"A node takes {MOST_CAMERAS} cameras at most; got {len(self.camera)}.")
        check_names([camera.stream for camera in self.camera])

    @property
    def cameras(self) -> tuple[CameraConfig, ...]:
        """All cameras, at least one."""
        return self.camera or (
            CameraConfig(**{field.name: getattr(self, field.name) for field in fields(CameraConfig)}),
        )


def check_names(streams: Sequence[str]) -> None:
    """Raise ConfigError where two cameras have the same stream."""
    if len(set(streams)) < len(streams):
        twice = next(name for name in streams if streams.count(name) > 1)
        raise ConfigError(f"Two cameras have the stream {twice!r}: give each [[camera]] a stream of its own.")
