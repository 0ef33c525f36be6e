"""The policy: a world model, its statistics, and an agent that plans with it."""

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_STATE
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.build import build_model
from jepawm.commands import Commands, commands_from_json
from jepawm.data.resample import square_frame
from jepawm.data.windows import action_blocks
from jepawm.errors import UserError
from jepawm.experiment import experiment_to_json
from jepawm.hub.load import LoadedModel
from jepawm.models.weight_files import list_misfits, shorten
from jepawm.normalizer import Normalizer
from jepawm.training.losses import Learner
from jepawm.types import Observation, Trajectory
from lerobot_policy_jepawm.configuration_jepawm import JepawmConfig

_STATISTICS = ("action_mean", "action_std", "proprio_mean", "proprio_std")


class JepawmPolicy(PreTrainedPolicy):
    """Plan towards a goal picture; `forward` is the training loss of jepawm."""

    config_class = JepawmConfig
    name = "jepawm"

    def __init__(
        self,
        config: JepawmConfig,
        dataset_stats: dict[str, dict[str, Any]] | None = None,
        **_: object,
    ) -> None:
        """Build the model that the configuration says, with random weights.

        Widths and statistics are those of the data set, where the configuration has none yet.
        """
        super().__init__(config)
        experiment = config.read_experiment()
        if not config.action_dim:
            if config.action_feature is None:
                raise UserError("the policy knows no actions yet; train it, or give --policy.path")
            config.action_dim = config.action_feature.shape[0]
            state = config.robot_state_feature
            uses_state = experiment.proprio.mode != "none" and state is not None
            config.proprio_dim = state.shape[0] if uses_state and state is not None else 0
        _require_widths(config)
        self.config: JepawmConfig = config
        self._experiment = experiment
        config.experiment = json.dumps(experiment_to_json(experiment))
        model = build_model(
            experiment,
            action_dim=config.action_dim,
            proprio_dim=config.proprio_dim,
            image_size=experiment.data.image_size,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(experiment.seed + 1)
            self.learner = Learner(model, experiment.loss)
        widths = [config.action_dim] * 2 + [config.proprio_dim] * 2
        for name, width in zip(_STATISTICS, widths, strict=True):
            fill = torch.ones(width) if name.endswith("std") else torch.zeros(width)
            self.register_buffer(name, _statistic(name, dataset_stats, like=fill))
        self._generator = torch.Generator().manual_seed(experiment.seed)
        self.reset()

    @classmethod
    def _load_as_safetensor(
        cls,
        model: "JepawmPolicy",
        model_file: str,
        map_location: str,
        strict: bool,  # noqa: ARG003 (LeRobot's own)
    ) -> "JepawmPolicy":
        """Load the weights; a folder without them, or with others, is refused."""
        file = Path(model_file)
        if not file.is_file():
            raise UserError(
                f"{file.parent} has no {file.name}; export or train the policy again, or copy it whole"
            )
        weights = load_file(file, device=map_location)
        misfits = list_misfits({k: tuple(v.shape) for k, v in model.state_dict().items()}, weights)
        if misfits:
            raise UserError(f"{file} does not fit its config.json: {shorten(misfits)}")
        model.load_state_dict(weights)
        return model

    @property
    def commands(self) -> Commands | None:
        """Return the forms of the actions; None: as they are."""
        if not self.config.commands:
            return None
        return commands_from_json(json.loads(self.config.commands), source="config.json")

    def normalizer(self) -> Normalizer:
        """Return the statistics as jepawm has them."""
        values = {name: getattr(self, name) for name in _STATISTICS}
        if not self.config.proprio_dim:
            values |= {"proprio_mean": None, "proprio_std": None}
        return Normalizer(commands=self.commands, **values)

    def get_optim_params(self) -> list[torch.nn.Parameter]:
        """Return what the optimiser changes."""
        return [one for one in self.parameters() if one.requires_grad]

    def reset(self) -> None:
        """Forget the goal and the plan: another episode begins."""
        self._queue: deque[Tensor] = deque()
        self._agent: PlanningAgent | None = None
        self._last: Tensor | None = None

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of windows, and its terms; windows beyond an episode's end are left out."""
        data, normalizer = self._experiment.data, self.normalizer()
        pixels = batch[self.config.camera_key()]
        kept = torch.ones(len(pixels), dtype=torch.bool, device=pixels.device)
        if "action_is_pad" in batch:
            kept = ~batch["action_is_pad"].any(dim=1)
        if int(kept.sum()) < 2:  # statistics over a batch need two
            return sum(one.sum() * 0.0 for one in self.get_optim_params()), {}
        proprio = batch[OBS_STATE][kept] if self.config.proprio_dim else None
        obs = Observation(pixels=self._square(pixels[kept]), proprio=proprio)
        blocks = action_blocks(
            batch[ACTION][kept], num_blocks=data.num_steps, frameskip=data.frameskip
        )
        window = Trajectory(
            obs=normalizer.observation(obs), actions=normalizer.normalize_action(blocks)
        )
        terms = self.learner(window, generator=self._generator)
        return terms["loss"], {name: float(value.detach()) for name, value in terms.items()}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Tensor], **_: object) -> Tensor:
        """Return a whole plan from this moment, `[B, T, a]`."""
        with torch.inference_mode(mode=False):
            obs = self._observation(batch)
            agent = self._new_agent()
            agent.reset(self._goal(batch))
            agent.act(obs)
            plan = agent.last_plan
            assert plan is not None
            moves = agent.normalizer.unnormalize_action(plan.actions)
            return self._to_commands(moves.reshape(len(moves), -1, self.config.action_dim), obs)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **_: object) -> Tensor:
        """Return the next action `[B, a]`; the first one of an episode takes the goal."""
        if not self._queue:
            with torch.inference_mode(mode=False):  # planners follow gradients
                obs = self._observation(batch)
                if self._agent is None:
                    self._agent = self._new_agent()
                    steps = self._agent.protocol.num_steps if self.config.protocol else None
                    self._agent.reset(self._goal(batch), steps)
                moves = self._agent.act(obs)
                actions = self._to_commands(
                    moves.reshape(len(moves), -1, self.config.action_dim), obs
                )
                self._last = actions[:, -1]
                self._queue.extend(actions.unbind(1))
        return self._queue.popleft()

    def _to_commands(self, moves: Tensor, obs: Observation) -> Tensor:
        """Return moves `[B, T, a]` as the commands of the data set, within its bounds if known."""
        commands = self.commands
        if commands is None:
            return moves
        if not commands.is_absolute:
            last = self._last
            last = commands.start(obs.proprio, otherwise=None) if last is None else last
            moves = commands.to_commands(
                moves, before=last, proprio=obs.proprio, frameskip=self._experiment.data.frameskip
            )
        low, high = (moves.new_tensor(one) for one in (commands.low, commands.high))
        return moves.clamp(low, high)

    def _new_agent(self) -> PlanningAgent:
        experiment, folder = self._experiment, str(self.config.pretrained_path or self.name)
        self.learner.eval()
        loaded = LoadedModel(
            name=folder,
            model=self.learner.model,
            normalizer=self.normalizer(),
            experiment=experiment,
            run=Path(folder),
            probe=None,
        )
        return loaded.agent(protocol=self.config.read_protocol(experiment))

    def _observation(self, batch: dict[str, Tensor]) -> Observation:
        key = self.config.camera_key()
        if key not in batch:
            raise UserError(f"the observation has no {key}; it has: {', '.join(sorted(batch))}")
        return Observation(
            pixels=self._square(batch[key]),
            proprio=batch[OBS_STATE].clone() if self.config.proprio_dim else None,
        )

    def _goal(self, batch: dict[str, Tensor]) -> Observation:
        """Return the goal: of the configuration, else of the observation."""
        config, count = self.config, len(batch[self.config.camera_key()])
        state: Tensor | None = None
        if config.goal and config.goal_dataset:
            raise UserError("policy.goal and policy.goal_dataset are two goals; give one")
        if config.goal:
            pixels = self._read_goal(Path(config.goal))
        elif config.goal_dataset:
            pixels, state = self._recorded_goal(Path(config.goal_dataset))
        elif config.goal_key in batch:
            pixels, state = self._square(batch[config.goal_key]), batch.get(config.goal_state_key)
        else:
            raise UserError(
                "there is no goal: give --policy.goal=PICTURE or --policy.goal_dataset=FOLDER, or "
                f"observations with the key {config.goal_key}"
            )
        pixels = pixels.expand(count, -1, -1, -1)
        if not config.proprio_dim:
            return Observation(pixels=pixels)
        if config.goal_state:
            state = torch.tensor([config.goal_state], device=pixels.device)
        if state is None or state.shape[-1] != config.proprio_dim:
            raise UserError(
                f"the model knows the robot's state, {config.proprio_dim} numbers, and nothing gives "
                "them at the goal: give --policy.goal_state='[...]'"
            )
        return Observation(pixels=pixels, proprio=state.expand(count, -1).clone())

    def _recorded_goal(self, root: Path) -> tuple[Tensor, Tensor | None]:
        """Return picture and state of a frame of a data set of LeRobot."""
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        config, key = self.config, self.config.camera_key()
        if not (root / "meta" / "info.json").is_file():
            raise UserError(f"policy.goal_dataset = {root} is no data set of LeRobot")
        data = LeRobotDataset(root.name, root=root, video_backend="pyav")
        if not 0 <= config.goal_episode < data.num_episodes:
            raise UserError(
                f"policy.goal_episode = {config.goal_episode}; {root} has {data.num_episodes} episodes"
            )
        if key not in data.meta.camera_keys:
            known = ", ".join(data.meta.camera_keys)
            raise UserError(
                f"{root} has no camera {key}, of which the goal must be; it has: {known}"
            )
        meta = data.meta.episodes[config.goal_episode]
        first, length = meta["dataset_from_index"], meta["length"]
        frame = config.goal_frame + (length if config.goal_frame < 0 else 0)
        if not 0 <= frame < length:
            raise UserError(
                f"policy.goal_frame = {config.goal_frame}; the episode has {length} frames"
            )
        item = data[first + frame]
        device = self.action_mean.device
        state = item.get(OBS_STATE)
        return (
            self._square(item[key][None].to(device)),
            None if state is None else state[None].to(device),
        )

    def _read_goal(self, file: Path) -> Tensor:
        if not file.is_file():
            raise UserError(f"policy.goal = {file} is no file; give a picture by the same camera")
        with Image.open(file) as picture:
            frame = np.asarray(picture.convert("RGB"), dtype=np.uint8)
        size, fit = self._experiment.data.image_size, self._fit()
        return torch.from_numpy(square_frame(frame, size, fit=fit).copy())[None].to(
            self.action_mean.device
        )

    def _square(self, pictures: Tensor) -> Tensor:
        """Return pictures `[*b, 3, height, width]`, fractions of 1, as the model takes them."""
        levels = (255.0 * pictures.float()).round().clamp(0, 255).to(torch.uint8)
        size = self._experiment.data.image_size
        if tuple(levels.shape[-2:]) == (size, size):
            return levels
        frames = levels.flatten(0, -4).permute(0, 2, 3, 1).cpu().numpy()
        square = [square_frame(np.ascontiguousarray(one), size, fit=self._fit()) for one in frames]
        whole = torch.from_numpy(np.stack(square)).to(levels.device)
        return whole.reshape(*levels.shape[:-3], 3, size, size)

    def _fit(self) -> Any:  # noqa: ANN401 (a literal that draccus cannot parse)
        if self.config.fit not in ("crop", "stretch"):
            raise UserError(f"policy.fit = {self.config.fit!r}; choose crop or stretch")
        return self.config.fit


def _require_widths(config: JepawmConfig) -> None:
    """Refuse a robot, or a data set, of other widths than the model has."""
    state = config.robot_state_feature
    pairs = (
        ("action", config.action_feature, config.action_dim),
        (OBS_STATE, state if config.proprio_dim else None, config.proprio_dim),
    )
    for name, feature, width in pairs:
        if feature is not None and feature.shape[0] != width:
            raise UserError(
                f"{name} has {feature.shape[0]} numbers here, and the policy learned from {width}; "
                "give the robot or the data set that it was made for, or train another policy"
            )


def _statistic(name: str, stats: dict[str, dict[str, Any]] | None, *, like: Tensor) -> Tensor:
    """Return mean or standard deviation of a column of the data set; `like` where it has none."""
    kind, _, what = name.partition("_")
    found = (stats or {}).get(ACTION if kind == "action" else OBS_STATE)
    if found is None or not len(like):
        return like
    values = torch.as_tensor(np.asarray(found[what]), dtype=torch.float32).reshape(-1).clone()
    return torch.where(values == 0, torch.ones_like(values), values) if what == "std" else values
