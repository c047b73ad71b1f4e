"""Benchmarks and table makers; each is run as ``python -m benchmarks.NAME``."""
