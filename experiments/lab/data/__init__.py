"""Data sets: found, checked, loaded."""
