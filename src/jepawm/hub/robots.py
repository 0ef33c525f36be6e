"""A loaded model for one robot: its rules, its cameras, its loop."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from jepawm.agent import PlanningAgent
from jepawm.control import RobotLoop
from jepawm.data.resample import Fit
from jepawm.models.seeing import seeing
from jepawm.models.views import ViewsEncoder
from jepawm.models.world_model import JEPAWorldModel
from jepawm.protocol import Protocol
from jepawm.views import choose_views

if TYPE_CHECKING:  # which calls what is here
    from jepawm.hub.load import LoadedModel

_MOST_BLOCKS = 1000
"""Action blocks of an episode of a robot, where nobody says how many."""


def robot_rules(*, horizon: int, num_action_steps: int, frameskip: int) -> Protocol:
    """Return how far a robot plans, and how often."""
    return Protocol(
        name="robot",
        horizon=horizon,
        num_action_steps=num_action_steps,
        frameskip=frameskip,
        max_env_steps=_MOST_BLOCKS * frameskip,
    )


def robot_loop(agent: PlanningAgent, loaded: "LoadedModel", *, fit: Fit | None) -> RobotLoop:
    """Return the loop of an agent; pictures become square as those of the training data did."""
    data = loaded.data
    known = None if data is None else data.fit
    return RobotLoop(
        agent,
        image_size=loaded.image_size,
        fit=fit or cast(Fit | None, known),
        rate_hz=None if data is None else data.fps,
        cameras=loaded.cameras,
    )


def cameras_of(loaded: "LoadedModel") -> tuple[str, ...]:
    """Return the names of the cameras that a model sees; empty where nobody knows."""
    if isinstance(loaded.model.encoder, ViewsEncoder):
        return loaded.model.encoder.cameras
    camera = None if loaded.data is None else loaded.data.camera
    return (camera,) if camera else ()


def seen_by(loaded: "LoadedModel", cameras: Sequence[str]) -> JEPAWorldModel:
    """Return the model as it sees some of its cameras; the only one of a model may be named too."""
    if not isinstance(loaded.model.encoder, ViewsEncoder) and loaded.cameras:
        choose_views(cameras, loaded.cameras, where=loaded.name)
        return loaded.model
    return seeing(loaded.model, cameras)
