"""PyTorch state dicts read without PyTorch: both file formats, and files that lie or want to run code.

The files are written here byte by byte as PyTorch writes them, by a pickler that knows its three globals.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.errors import ModelError
from training.models.torch_state import read_state_dict

Tensor = tuple[np.ndarray, int, tuple[int, ...], tuple[int, ...]]  # values, offset, shape, strides

TENSORS: dict[str, np.ndarray] = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "half": np.linspace(0, 1, 5).astype(np.float16),
    "double": np.array([[1.5]], np.float64),
    "num_batches_tracked": np.array(7, np.int64),
}
_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


class Global:
    """Pickled as the name of a class that need not exist here."""

    def __init__(self, module: str, name: str) -> None:
        self.path = f"{module} {name}"


class Rebuilt:
    """Pickled as a call of ``torch._utils._rebuild_tensor_v2``."""

    def __init__(self, kind: str, key: str, tensor: Tensor) -> None:
        self.kind, self.key, self.tensor = kind, key, tensor


class TorchPickler(pickle._Pickler):  # the pure Python one, whose opcodes a test can add to
    """Writes globals by name, and tensors as PyTorch does: a call around a persistent storage id."""

    def __init__(self, file: Any, *, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.legacy = legacy

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(b"c" + obj.path.replace(" ", "\n").encode() + b"\n")
        elif isinstance(obj, Rebuilt):
            values, offset, shape, strides = obj.tensor
            storage = ("storage", Global("torch", obj.kind), obj.key, "cpu", values.size, *([None] * self.legacy))
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.write(b"(")
            self.save(storage)
            self.write(b"Q")
            for part in (offset, shape, strides, False, OrderedDict()):
                self.save(part)
            self.write(b"tR")
        else:
            super().save(obj, save_persistent_id)


def pickled(tree: Any, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    TorchPickler(file, legacy=legacy).dump(tree)
    return file.getvalue()


def plain(array: np.ndarray) -> Tensor:
    return array.ravel(), 0, array.shape, tuple(step // array.itemsize for step in array.strides)


def write_zip(path: Path, tensors: dict[str, Tensor]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        tree = {n: Rebuilt(_STORAGES[t[0].dtype.name], str(k), t) for k, (n, t) in enumerate(tensors.items())}
        archive.writestr("archive/data.pkl", pickled(OrderedDict(tree)))
        for key, tensor in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", tensor[0].tobytes())
    return path


def write_legacy(path: Path, tensors: dict[str, Tensor], *, claimed: int | None = None) -> Path:
    tree = {n: Rebuilt(_STORAGES[t[0].dtype.name], str(k), t) for k, (n, t) in enumerate(tensors.items())}
    parts = [pickle.dumps(head, 2) for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts += [pickled(OrderedDict(tree), legacy=True), pickle.dumps([str(k) for k in range(len(tensors))], 2)]
    for values, *_ in tensors.values():
        parts += [struct.pack("<q", values.size if claimed is None else claimed), values.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


Writer = Callable[[Path, dict[str, Tensor]], Path]
both_formats = pytest.mark.parametrize("write", [write_zip, write_legacy])


@both_formats
def test_tensors_come_back_with_their_shapes_and_types(tmp_path: Path, write: Writer) -> None:
    state = read_state_dict(write(tmp_path / "w.pth", {name: plain(array) for name, array in TENSORS.items()}))
    assert list(state) == list(TENSORS)
    for name, array in TENSORS.items():
        assert state[name].dtype == array.dtype
        assert state[name].shape == array.shape
        assert (state[name] == array).all()


@both_formats
def test_a_view_into_a_larger_storage_is_cut_out(tmp_path: Path, write: Writer) -> None:
    values = np.arange(24, dtype=np.float32)
    state = read_state_dict(write(tmp_path / "w.pth", {"transposed": (values, 4, (4, 3), (1, 4))}))
    assert (state["transposed"] == values[4:16].reshape(3, 4).T).all()


@both_formats
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 2)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2,), (1, 1))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    tmp_path: Path, write: Writer, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    path = write(tmp_path / "w.pth", {"a": (np.zeros(4, np.float32), offset, shape, strides)})
    with pytest.raises(ModelError, match="not a PyTorch state dict"):
        read_state_dict(path)


@both_formats
def test_a_tensor_that_repeats_one_value_without_end_is_refused(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path / "w.pth", {"a": (np.zeros(4, np.float32), 0, (1 << 40,), (0,))})
    with pytest.raises(ModelError, match="beyond its storage"):
        read_state_dict(path)


@both_formats
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_a_model_error(tmp_path: Path, write: Writer, keep: float) -> None:
    path = write(tmp_path / "w.pth", {name: plain(array) for name, array in TENSORS.items()})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError, match=r"w\.pth"):
        read_state_dict(path)


@pytest.mark.parametrize("claimed", [1 << 60, -1, 5])
def test_a_storage_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path, claimed: int) -> None:
    path = write_legacy(tmp_path / "w.pth", {"a": plain(np.zeros(4, np.float32))}, claimed=claimed)
    with pytest.raises(ModelError, match="ends inside a tensor"):
        read_state_dict(path)


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "owned")


@pytest.mark.parametrize("format_name", ["zip", "legacy"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, format_name: str) -> None:
    path, target = tmp_path / "w.pth", tmp_path / "target"
    hostile = pickle.dumps({"a": Evil(target)}, 2)
    if format_name == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", hostile)
    else:
        path.write_bytes(hostile)
    with pytest.raises(ModelError, match="has no use for"):
        read_state_dict(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"just some text\n", b"\x80\x02N.", b"\x80\x02]q\x00.", b"c\n\n.", b"PK\x03\x04 not really", b"0" * 99],
)
def test_whatever_else_is_no_state_dict_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.pth is not a PyTorch state dict") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tree", [[1, 2], None, "text", {"a": Rebuilt("FloatStorage", "9", plain(np.zeros(1)))}])
def test_a_zip_file_that_holds_something_else_is_a_model_error(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(tree))
    with pytest.raises(ModelError, match="not a PyTorch state dict"):
        read_state_dict(path)


def test_an_ordinary_zip_file_is_a_model_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="not a PyTorch state dict"):
        read_state_dict(tmp_path / "w.pth")


def test_missing_files_and_folders_are_model_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights file"):
        read_state_dict(tmp_path / "missing.pth")
    with pytest.raises(ModelError, match="Cannot read"):
        read_state_dict(tmp_path)
