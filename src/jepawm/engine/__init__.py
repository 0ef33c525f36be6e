"""Everything that is only speed: candidates of a plan are rolled out fast, and come out the same."""

from jepawm.engine.process import tune_process

__all__ = ["tune_process"]
