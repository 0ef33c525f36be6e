"""Trained models by name or by folder."""

from jepawm.hub.decoders import load_decoder
from jepawm.hub.load import LoadedModel, bundled_names, load

__all__ = ["LoadedModel", "bundled_names", "load", "load_decoder"]
