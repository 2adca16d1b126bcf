"""What whole nodes are given: where to publish, and what to play."""

from __future__ import annotations

from pathlib import Path

import pytest
from clips import clip, steady
from controlled import Shelf

import perception.node


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/node.ipc"


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Thirty frames, 25 a second."""
    return str(clip(tmp_path_factory.mktemp("film") / "drive.mp4", steady(30)))


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Where the nodes of this test have their engines from."""
    made = Shelf()
    monkeypatch.setattr(perception.node, "open_node_engine", made.open)
    return made
