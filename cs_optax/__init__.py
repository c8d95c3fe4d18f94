"""The complex synapse of Benna & Fusi (2016) as an Optax gradient transformation."""

__version__ = "0.1.0"
