"""The configuration of the policy: which model, which goal, how far to plan."""

import json
from dataclasses import dataclass, field, replace

from lerobot.configs.policies import PreTrainedConfig
from lerobot.optim.optimizers import AdamWConfig

from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_from_json
from jepawm.protocol import Protocol
from jepawm.recipes import RECIPES

GOAL = "observation.images.goal"
"""Where an environment, or a processor, puts the picture of the goal."""


@PreTrainedConfig.register_subclass("jepawm")
@dataclass
class JepawmConfig(PreTrainedConfig):
    """Plan with a world model, or train one."""

    recipe: str = "robot"
    """Recipe of jepawm to train, where `experiment` is empty."""
    experiment: str = ""
    """The whole configuration of jepawm as JSON; filled by an export and by training."""
    action_dim: int = 0
    """Width of one action; 0: as the data set has it."""
    proprio_dim: int = 0
    """Width of the robot's own state; 0: as the data set has it."""
    commands: str = ""
    """Forms and bounds of the commands as JSON; empty: actions are taken as they are."""
    camera: str = ""
    """Key of the pictures, as observation.images.front; empty: the only one."""
    fit: str = "crop"
    """How pictures become square: crop or stretch."""
    goal: str = ""
    """File of a picture of the goal, by the same camera; empty: the observation brings it."""
    goal_dataset: str = ""
    """Folder of a data set of LeRobot, of which a frame is the goal."""
    goal_episode: int = 0
    """Episode of that frame."""
    goal_frame: int = -1
    """Its number in the episode; below 0: from the end."""
    goal_state: list[float] = field(default_factory=list)
    """The robot's own state at the goal, where the model knows it and the observation brings none."""
    goal_key: str = GOAL
    """Key of the goal's picture in an observation."""
    goal_state_key: str = "observation.environment_state"
    """Key of the robot's own state at the goal in an observation."""
    protocol: str = ""
    """Protocol of the experiment to plan by; empty: `horizon` and `num_action_steps`."""
    horizon: int = 3
    """Action blocks that a plan looks ahead."""
    num_action_steps: int = 1
    """Action blocks that are executed before the next plan."""
    lr: float = 1e-3
    """Learning rate of `lerobot-train`."""

    def read_experiment(self) -> Experiment:
        """Return the configuration of jepawm."""
        if self.experiment:
            return experiment_from_json(json.loads(self.experiment), source="config.json")
        recipe = RECIPES.get(self.recipe)
        if not isinstance(recipe, Experiment):
            raise UserError(f"policy.recipe = {self.recipe!r} is no recipe of jepawm")
        return replace(recipe, data=replace(recipe.data, actions=("absolute",)))

    def read_protocol(self, experiment: Experiment) -> Protocol:
        """Return how far to plan, and how often."""
        if self.protocol:
            return experiment.protocol(self.protocol)
        frameskip = experiment.data.frameskip
        return Protocol(
            name="lerobot",
            horizon=self.horizon,
            num_action_steps=self.num_action_steps,
            frameskip=frameskip,
            max_env_steps=1000 * frameskip,
        )

    def camera_key(self) -> str:
        """Return the key of the pictures."""
        keys = [key for key in self.image_features if key != self.goal_key]
        if self.camera:
            if self.camera not in keys:
                raise UserError(f"policy.camera = {self.camera!r}; there are: {', '.join(keys)}")
            return self.camera
        if len(keys) != 1:
            raise UserError(
                f"there are {len(keys)} cameras ({', '.join(keys)}); choose one by --policy.camera"
            )
        return keys[0]

    @property
    def observation_delta_indices(self) -> list[int]:
        """Return the frames of a training window."""
        data = self.read_experiment().data
        return [step * data.frameskip for step in range(data.num_steps + 1)]

    @property
    def action_delta_indices(self) -> list[int]:
        """Return the actions between them."""
        data = self.read_experiment().data
        return list(range(data.num_steps * data.frameskip))

    @property
    def reward_delta_indices(self) -> None:
        """Return that no rewards are learned from."""
        return

    def get_optimizer_preset(self) -> AdamWConfig:
        """Return the optimiser."""
        return AdamWConfig(lr=self.lr, weight_decay=0.05, grad_clip_norm=1.0)

    def get_scheduler_preset(self) -> None:
        """Return that the learning rate stays."""
        return

    def validate_features(self) -> None:
        """Refuse observations without the camera, and data without actions."""
        self.camera_key()
        if self.action_feature is None:
            raise UserError("the data set has no feature action")
