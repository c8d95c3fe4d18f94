"""Continual-learning experiments with complex synapses: ``python -m experiments.compare --help``."""
