"""Read the tensors of a PyTorch state dict without PyTorch.

Pretrained encoders are often published as ``.pth`` files; PyTorch itself would be a large dependency
for reading one. Only what such a file needs is unpickled, everything else is refused, so an untrusted
file cannot run code.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from perception.errors import ModelError

State = dict[str, npt.NDArray[Any]]

_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class _Slice:
    """A tensor's place in a storage; elements, not bytes."""

    storage: tuple[Any, ...]  # ("storage", type name, key, location, length)
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Knows tensors, storages and ordered dictionaries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Slice(storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"a state dict has no use for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_state_dict(path: Path) -> State:
    """All tensors of a ``.pth`` file by name, in either of PyTorch's two file formats.

    Raises:
        ModelError: the file is missing, or not a state dict.
    """
    try:
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except FileNotFoundError:
        raise ModelError(f"There is no weights file {path}.") from None
    except (pickle.UnpicklingError, EOFError, struct.error, KeyError, ValueError, TypeError, StopIteration) as error:
        raise ModelError(f"{path} is not a PyTorch state dict: {error}.") from None


def _read_zip(path: Path) -> State:
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("data.pkl")).removesuffix("data.pkl")
        tree = _Unpickler(io.BytesIO(archive.read(root + "data.pkl"))).load()
        return _collect(tree, lambda key: archive.read(f"{root}data/{key}"))


def _read_legacy(path: Path) -> State:
    with path.open("rb") as file:
        if _Unpickler(file).load() != _LEGACY_MAGIC:
            raise ValueError("wrong magic number")
        _Unpickler(file).load()  # protocol version
        _Unpickler(file).load()  # system information
        tree = _Unpickler(file).load()
        keys = _Unpickler(file).load()
        widths = {s.storage[2]: _DTYPES[s.storage[1]].itemsize for s in tree.values() if isinstance(s, _Slice)}
        storages = {key: _read_storage(file, widths[key]) for key in keys}
    return _collect(tree, storages.__getitem__)


def _read_storage(file: BinaryIO, width: int) -> bytes:
    (length,) = struct.unpack("<q", file.read(8))
    data = file.read(length * width)
    if len(data) != length * width:
        raise EOFError("the file ends inside a tensor")
    return data


def _collect(tree: dict[str, Any], storage: Callable[[str], bytes]) -> State:
    state: State = {}
    for name, part in tree.items():
        if isinstance(part, _Slice):
            flat = np.frombuffer(storage(part.storage[2]), _DTYPES[part.storage[1]])[part.offset :]
            strides = tuple(step * flat.itemsize for step in part.strides)
            state[name] = np.lib.stride_tricks.as_strided(flat, part.shape, strides).copy()
    return state
