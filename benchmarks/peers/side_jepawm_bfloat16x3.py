"""Our side with each float32 product as three of bfloat16."""

from side_jepawm import PACKAGE, Jepawm

from jepawm.engine.config import EngineConfig

__all__ = ["PACKAGE", "SIDE"]


class Split(Jepawm):
    """Plan with this library on matrix tiles."""

    engine = EngineConfig(precision="bfloat16x3")


SIDE = Split
