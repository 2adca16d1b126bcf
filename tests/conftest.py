"""Lies here so that pytest puts this folder on the path: every test may import ``tiny_model``."""
