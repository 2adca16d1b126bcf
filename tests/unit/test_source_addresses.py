"""Addresses: what kind of source they name, and that no password is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.errors import SourceNotFound
from perception.sources import open_source
from perception.sources.address import redact, scheme_of, without_credentials

PASSWORDS = st.text("abcXYZ019!$%*+-._~:@", min_size=4, max_size=20)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:geheim@10.0.0.7:554/live?x=1", "rtsp://***@10.0.0.7:554/live?x=1"),
        ("rtsp://admin:ge@heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("http://cam/video?user=me&pwd=geheim&fps=5", "http://cam/video?user=***&pwd=***&fps=5"),
        ("https://token@cam/", "https://***@cam/"),
        ("rtmp://cam/live", "rtmp://cam/live"),
        ("http://cam/a@b.mjpg", "http://cam/a@b.mjpg"),
        ("drive@night.mp4", "drive@night.mp4"),
    ],
)
def test_what_is_shown_of_an_address(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@given(PASSWORDS)
def test_no_password_survives(password: str) -> None:
    uri = f"rtsp://operator:{password}@camera.local/stream"
    assert redact(uri) == "rtsp://***@camera.local/stream"
    assert redact(f"Cannot open {uri!r}: refused") == "Cannot open 'rtsp://***@camera.local/stream': refused"


def test_a_message_that_quotes_only_the_password() -> None:
    message = without_credentials("bad login 'me' with 'geheim'", "rtsp://me:geheim@cam/")
    assert "geheim" not in message


def test_schemes() -> None:
    assert scheme_of("RTSP://cam/") == "rtsp"
    assert scheme_of("0") is None
    assert scheme_of("C:\\clip.mp4") is None
    assert scheme_of("folder/frames") is None


@pytest.mark.parametrize("uri", ["rtsp://me:geheim@cam/1", "http://me:geheim@cam/1?token=geheim"])
def test_a_network_source_shows_no_credentials(uri: str) -> None:
    source = open_source(uri)
    assert source.live
    assert source.promised is None
    assert "geheim" not in f"{source.uri} {source!r}"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("nothing.mp4", "no 'nothing.mp4'"),
        ("", "no ''"),
        ("gopher://me:geheim@cam/", "gopher:// is not a known kind"),
        ("4711", "no camera '/dev/video4711'"),
        ("/dev/video4711", "no '/dev/video4711'"),
        ("nothing/*.png", "matches nothing"),
        ("x" * 5000, "name too long"),
        ("file:///nothing/at/all.mp4", "no 'file:///nothing"),
    ],
)
def test_what_is_not_there(uri: str, says: str) -> None:
    with pytest.raises(SourceNotFound) as caught:
        open_source(uri)
    assert says in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_folder_without_images_and_a_pattern_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(SourceNotFound, match="holds no images"):
        open_source(str(tmp_path))
    with pytest.raises(SourceNotFound, match="matches 1 files, but no image"):
        open_source(f"{tmp_path}/*")


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceNotFound):
        open_source(str(tmp_path / "pipe.mp4"))
