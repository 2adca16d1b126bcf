"""Benchmarks of a node against what bounds it, in one run, and the comparison of two such runs."""
