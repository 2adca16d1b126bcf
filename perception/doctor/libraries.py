"""The libraries a node computes, reads and sends with."""

from __future__ import annotations

import platform
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from perception.doctor.finding import Finding, installed

OLDEST_PYTHON = (3, 10)
_NODE = "pip install 'roadcast[node]'"
_CODECS = ("h264", "hevc", "mjpeg", "vp9", "av1")  # of dash cameras, network cameras and phones


def check_python() -> Finding:
    """The interpreter."""
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Finding("Python", "broken", platform.python_version(), "too old", f"Install Python {wanted} or newer.")
    return Finding("Python", "ok", platform.python_version(), f"{platform.system()} {platform.machine()}")


def check_opencv() -> Finding:
    """OpenCV: pictures and resizing. Video is PyAV's, so its video back ends are only named."""
    both = installed("opencv-python", "opencv-python-headless", "opencv-contrib-python")
    if find_spec("cv2") is None:
        return Finding("OpenCV", "broken", None, "it is not installed", _NODE)
    import cv2

    backends = [cv2.videoio_registry.getBackendName(one) for one in cv2.videoio_registry.getBackends()]
    detail = f"back ends: {', '.join(dict.fromkeys(backends)) or 'none'}"
    if len(both) > 1:
        names = " and ".join(name for name, _ in both)
        remedy = f"Keep one: pip uninstall {' '.join(name for name, _ in both)} && pip install opencv-python-headless"
        return Finding("OpenCV", "limited", cv2.__version__, f"{names} overwrite each other's files", remedy)
    return Finding("OpenCV", "ok", cv2.__version__, detail)


def check_pyav() -> Finding:
    """PyAV with its FFmpeg: video files, network streams and cameras."""
    if find_spec("av") is None:
        return Finding("PyAV", "broken", None, "it is not installed", _NODE)
    import av

    lacking = [name for name in _CODECS if name not in av.codecs_available]
    avcodec = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    if lacking:
        detail = f"its FFmpeg does not decode {', '.join(lacking)}"
        return Finding("PyAV", "limited", av.__version__, detail, "Install the wheel: pip install --force-reinstall av")
    return Finding("PyAV", "ok", av.__version__, f"libavcodec {avcodec}, decodes {', '.join(_CODECS)}")


def check_onnxruntime() -> Finding:
    """ONNX Runtime, and on what it can compute."""
    if find_spec("onnxruntime") is None:
        return Finding("ONNX Runtime", "broken", None, "it is not installed", _NODE)
    import onnxruntime

    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    both = installed("onnxruntime", "onnxruntime-gpu")
    if len(both) > 1:
        remedy = "Keep one: pip uninstall onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        detail = "onnxruntime and onnxruntime-gpu overwrite each other's files"
        return Finding("ONNX Runtime", "limited", onnxruntime.__version__, detail, remedy)
    return Finding("ONNX Runtime", "ok", onnxruntime.__version__, f"providers: {', '.join(providers)}")


def check_openvino() -> Finding:
    """OpenVINO, and whether this CPU makes it worth having."""
    if find_spec("openvino") is None:
        remedy = "On a CPU with bf16 it is faster than ONNX Runtime: pip install 'roadcast[openvino]'"
        return Finding("OpenVINO", "absent", None, "optional engine, not installed", remedy)
    import openvino

    core = openvino.Core()
    devices = ", ".join(core.available_devices)
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    speed = "this CPU computes in bf16" if has_bf16 else "this CPU has no bf16: ONNX Runtime is as fast"
    return Finding("OpenVINO", "ok", openvino.__version__.partition("-")[0], f"devices: {devices}; {speed}")


def check_zeromq() -> Finding:
    """ZeroMQ: can it bind here, and can it encrypt."""
    import zmq

    version = f"{zmq.zmq_version()} (pyzmq {zmq.__version__})"
    with zmq.Context() as context, tempfile.TemporaryDirectory() as folder:
        for endpoint in ("tcp://127.0.0.1:*", f"ipc://{Path(folder) / 'node'}"):
            with context.socket(zmq.XPUB) as socket:
                try:
                    socket.bind(endpoint)
                except zmq.ZMQError as error:
                    detail = f"cannot bind {endpoint.partition('/')[0]}//: {error}"
                    remedy = "Allow this user to open sockets, or run outside the sandbox."
                    return Finding("ZeroMQ", "broken", version, detail, remedy)
    if not zmq.has("curve"):
        detail = "binds tcp and ipc; without CURVE, so beyond this machine only unencrypted"
        return Finding("ZeroMQ", "limited", version, detail, "Install the wheel: pip install --force-reinstall pyzmq")
    return Finding("ZeroMQ", "ok", version, "binds tcp and ipc; CURVE is there")
