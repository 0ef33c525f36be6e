"""Frozen encoders: backbones, their weights and what they want to see."""
