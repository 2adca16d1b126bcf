"""Lies here so that pytest puts this folder on the path: every test may import ``tiny_model``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long one example takes says something about the machine, which may be busy, and nothing about the code.
settings.register_profile("roadcast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roadcast")


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """The light U-Net has a shallow encoder while the tests of a module run."""
    from tiny_networks import shallow_encoder

    with shallow_encoder():
        yield
