"""Lies here so that pytest puts this folder on the path: every test may import ``tiny_model``."""

from hypothesis import HealthCheck, settings

# How long one example takes says something about the machine, which may be busy, and nothing about the code.
settings.register_profile("roadcast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roadcast")
