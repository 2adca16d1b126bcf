"""Addresses of rendered streets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.errors import ConfigError
from perception.synth.options import WEATHERS, StreetOptions, format_uri, parse_uri


def test_everything_has_a_default() -> None:
    assert parse_uri("synth://street") == StreetOptions(1, (1280, 720), 30.0, "day", None)


def test_every_option_is_read() -> None:
    options = parse_uri("synth://street?seed=7&size=640x360&fps=12.5&weather=rain&frames=9")
    assert options == StreetOptions(7, (640, 360), 12.5, "rain", 9)


@given(
    st.builds(
        StreetOptions,
        seed=st.integers(0, 2**63 - 1),
        size=st.tuples(st.integers(64, 4096), st.integers(64, 4096)),
        fps=st.sampled_from([0.1, 10.0, 12.5, 25.0, 30.0, 1000.0]),
        weather=st.sampled_from(WEATHERS),
        frames=st.none() | st.integers(1, 10**9),
    )
)
def test_an_address_says_it_all(options: StreetOptions) -> None:
    assert parse_uri(format_uri(options)) == options


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("synth://stret", ["street"]),
        ("synth://street/?sed=1", ["'sed'", "seed", "Did you mean 'seed'?"]),
        ("synth://street?seed=x", ["seed", "'x'", "whole number"]),
        ("synth://street?seed=-1", ["seed", "'-1'"]),
        ("synth://street?seed=9999999999999999999", ["seed", "2^63-1"]),
        ("synth://street?seed=1&seed=2", ["'seed'", "twice"]),
        ("synth://street?size=1280", ["1280x720", "'1280'"]),
        ("synth://street?size=32x720", ["size", "64..4096", "32x720"]),
        ("synth://street?size=8192x720", ["size", "64..4096"]),
        ("synth://street?fps=fast", ["fps", "'fast'"]),
        ("synth://street?fps=0", ["fps", "0.1..1000"]),
        ("synth://street?fps=nan", ["fps", "nan"]),
        ("synth://street?weather=nite", ["day, dusk, night, rain", "'nite'", "Did you mean 'night'?"]),
        ("synth://street?weather=", ["weather", "''"]),
        ("synth://street?frames=0", ["frames", "at least 1"]),
        ("synth://street?frames=1.5", ["frames", "'1.5'"]),
    ],
)
def test_what_is_wrong_is_named(uri: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_uri(uri)
    for word in words:
        assert word in str(caught.value)
