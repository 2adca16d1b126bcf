"""Read the tensors of a PyTorch state dict without PyTorch.

Pretrained encoders are often published as ``.pth`` files; PyTorch itself would be a large dependency
for reading one. Only what such a file needs is unpickled, everything else is refused, so an untrusted
file cannot run code.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
import zlib
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


# Whatever a pickle or a zip archive that is damaged or hostile may raise while it is read.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
)


def read_state_dict(path: Path) -> State:
    """All tensors of a ``.pth`` file by name, in either of PyTorch's two file formats.

    Raises:
        ModelError: the file is missing or unreadable, or not a state dict.
    """
    try:
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except FileNotFoundError:
        raise ModelError(f"There is no weights file {path}.") from None
    except OSError as error:
        raise ModelError(f"Cannot read the weights file {path}: {error.strerror or error}.") from None
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"{path} is not a PyTorch state dict: {reason}.") from None


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
    start = file.tell()
    rest = file.seek(0, io.SEEK_END) - start
    if not 0 <= length * width <= rest:  # checked first: reading would allocate what a damaged file claims
        raise EOFError("the file ends inside a tensor")
    file.seek(start)
    return file.read(length * width)


def _collect(tree: dict[str, Any], storage: Callable[[str], bytes]) -> State:
    return {name: _tensor(part, storage) for name, part in tree.items() if isinstance(part, _Slice)}


def _tensor(part: _Slice, storage: Callable[[str], bytes]) -> npt.NDArray[Any]:
    values = np.frombuffer(storage(part.storage[2]), _DTYPES[part.storage[1]])
    _check_within(part, len(values))
    flat = values[part.offset :]
    strides = tuple(step * flat.itemsize for step in part.strides)
    return np.lib.stride_tricks.as_strided(flat, part.shape, strides).copy()


def _check_within(part: _Slice, length: int) -> None:
    """Raise ValueError unless every element of the tensor lies in its storage, and none is repeated at length."""
    if len(part.shape) != len(part.strides) or min((part.offset, *part.shape, *part.strides)) < 0:
        raise ValueError("a tensor has an impossible shape")
    last = part.offset + sum((size - 1) * step for size, step in zip(part.shape, part.strides))
    count = math.prod(part.shape)
    if count and (last >= length or count > length):
        raise ValueError("a tensor reaches beyond its storage")
