"""The compiler that works without a GPU, for tests of what is compiled ahead of time."""

from __future__ import annotations

import pytest

from perception.engines.tensorrt.library import Library, load_library


@pytest.fixture
def library() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="the optional library TensorRT for RTX is not installed")
    return load_library("tensorrt_rtx")
