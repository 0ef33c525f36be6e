"""What tests of environments share."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skip where MuJoCo finds no OpenGL library; the reason names what is missing."""
    from jepawm.envs.pointmaze.render import render_pointmaze
    from jepawm.errors import UserError

    try:
        render_pointmaze(np.zeros((1, 4)), 32)
    except UserError as error:
        pytest.skip(str(error))
