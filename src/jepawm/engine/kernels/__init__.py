"""Kernels of our own, for what torch has none."""
