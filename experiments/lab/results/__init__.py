"""Finished runs: their stamps, files, measures, statistics and summaries."""
