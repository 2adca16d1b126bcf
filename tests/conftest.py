"""Lies here so that pytest puts this folder on the path: every test may import ``tiny_model``."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long one example takes says something about the machine, which may be busy, and nothing about the code.
settings.register_profile("roadcast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roadcast")

# A shell starts what runs in its background deaf to Ctrl-C, and children inherit that; the tests send it to many.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """The light U-Net has a shallow encoder while the tests of a module run."""
    from tiny_networks import shallow_encoder

    with shallow_encoder():
        yield
