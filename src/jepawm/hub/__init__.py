"""Trained models by name or by folder."""

from jepawm.hub.load import LoadedModel, bundled_names, load

__all__ = ["LoadedModel", "bundled_names", "load"]
