"""Evaluation: agents on tasks under a protocol, with intervals and baselines."""
