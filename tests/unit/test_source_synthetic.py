"""The street as a source."""

from __future__ import annotations

import time

import numpy as np
import pytest

from perception.errors import ConfigError
from perception.ledger import Ledger
from perception.sources.opening import open_source
from perception.synth import Street

URI = "synth://street?seed=4&size=96x64&fps=12.5"


def test_frames_are_those_of_the_street() -> None:
    source, ledger = open_source(f"{URI}&frames=4", stream="rear"), Ledger()
    frames = list(source.frames(ledger))
    assert (source.live, source.fps, source.promised) == (False, 12.5, 4)
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [frame.time.media_ns for frame in frames] == [0, 80_000_000, 160_000_000, 240_000_000]
    assert {(frame.stream, frame.time.clock, frame.size) for frame in frames} == {("rear", "virtual", (96, 64))}
    assert ledger.entry().captured == 4
    np.testing.assert_array_equal(frames[3].image, Street(4, (96, 64), 12.5).render(3).image)


def test_it_is_endless_until_it_is_closed() -> None:
    source = open_source(URI)
    assert source.promised is None
    frames = source.frames(Ledger())
    assert [next(frames).number for _ in range(3)] == [0, 1, 2]
    source.close()
    source.close()
    assert list(frames) == []


def test_real_pace_keeps_to_the_media_time() -> None:
    source = open_source(f"{URI}&frames=6", pace="real")
    begun = time.monotonic()
    assert len(list(source.frames(Ledger()))) == 6
    assert time.monotonic() - begun > 0.39


def test_its_address_is_spelled_out() -> None:
    assert (
        open_source("synth://street?frames=2").uri == "synth://street?seed=1&size=1280x720&fps=30&weather=day&frames=2"
    )


def test_a_wrong_address_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="weather"):
        open_source("synth://street?weather=snow")
