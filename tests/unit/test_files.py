"""A file is whole or not there at all, and what was there before stays until then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perception.errors import OutputError
from perception.files import write_whole


@pytest.mark.parametrize("content", ["Bäume\n", b"\x00\xff"])
def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_who_may_read_it_is_what_the_user_set(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "kept.txt", "")
    finally:
        os.umask(before)
    assert (tmp_path / "kept.txt").stat().st_mode & 0o777 == 0o640


def test_what_fails_at_the_last_moment_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.png"
    path.write_text("old")
    seen: list[list[Path]] = []

    def full(_: int) -> None:
        seen.append(list(tmp_path.glob("*.png")))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"kept\.png': No space left on device"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert seen == [[path]]  # what is half-written is no picture for whoever lists them


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"there is no folder '.*nowhere'\. Create it first"):
        write_whole(tmp_path / "nowhere" / "kept.txt", "")
