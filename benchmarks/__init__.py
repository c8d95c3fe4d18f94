"""Measurements, none of them a test: ``python -m benchmarks.NAME``."""
