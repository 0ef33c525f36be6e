"""The whole configuration of a run, what it builds, and its way to JSON and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, cast, get_args, get_type_hints

import cattrs
import torch
import tyro
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from jepawm.agent import AgentConfig
from jepawm.checkpoint import JsonValue
from jepawm.contracts import CollectionPolicy, Planner
from jepawm.data.augmentation import AugmentationConfig
from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import FeatureStore
from jepawm.data.windows import Windows, hold_out, split_episodes
from jepawm.envs import POLICIES
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError
from jepawm.models.encoders import EncoderConfig, build_encoder
from jepawm.models.frozen.encoder import FrozenEncoderConfig, TimmEncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel, build_world_model
from jepawm.normalizer import Normalizer
from jepawm.planning import PLANNERS
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import PROTOCOLS, Protocol
from jepawm.strict_json import problems, register_named, strict_converter
from jepawm.training.devices import ComputeConfig
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig
from jepawm.training.train import LoopConfig

AnyEncoderConfig = EncoderConfig | FrozenEncoderConfig | TimmEncoderConfig
"""A learned or a frozen encoder; their field `family` tells which, in JSON too."""


RETIRED_FIELDS: Mapping[str, JsonValue] = {
    "agent.engine.keep_tokens": 1.0,
    "agent.engine.streaming": False,
    "loss.straightening_weight": 0.0,
    "planner.diagonal": False,
    "planner.screen_steps": 0,
    "planner.sampler.screen_steps": 0,
}
"""Fields of earlier versions, and the value at which each had no effect: so they still load."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which experience a model is trained on, and how it is cut."""

    store: str | None = None
    """Store of imported data, a path or a name below the data root; None: collected."""
    num_episodes: int = 1920
    """Episodes to collect."""
    episode_steps: int = 50
    """Environment steps of each episode."""
    image_size: int = 64
    """Side of the frames in pixels."""
    seed: int = 0
    """Seed of the collection."""
    frameskip: int = 5
    """Environment steps between two latents; their actions form one block."""
    num_steps: int = 3
    """Action blocks T in a training window, which has T + 1 frames."""
    train_fraction: float = 0.9
    """Part of the episodes used for training; the rest is for validation."""
    split_seed: int = 234
    """Seed of the split by episode."""
    held_out: int = 0
    """Last episodes of the store, kept from training, validation and statistics, for `eval`."""
    normalize: bool = True
    """Normalise actions and proprioception by the statistics of the data; False takes them raw."""
    feature_cache: str | None = None
    """Tokens of a frozen encoder computed once: `auto` (beside the store), or a folder; None: never."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How windows are varied in training."""
    policy: CollectionPolicy = RandomWall()
    """Where collected episodes start and what is done in them."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides the outcome of a run."""

    name: Annotated[str, tyro.conf.Suppress] = "experiment"
    """Name of the recipe."""
    env: str = "wall"
    """Environment to collect in and to plan in; `recordings`: there is none, only data."""
    seed: int = 0
    """Seed of the weights, of the order of the data and of all random numbers of training."""
    encoder: AnyEncoderConfig = EncoderConfig()
    """Encoder of images, learned or frozen."""
    predictor: PredictorConfig = PredictorConfig()
    """Predictor of latents."""
    proprio: ProprioConfig = ProprioConfig()
    """The robot's own state."""
    loss: LossConfig = LossConfig()
    """What training minimises."""
    optim: OptimConfig = OptimConfig()
    """Optimiser and length of training."""
    compute: ComputeConfig = ComputeConfig()
    """Precision, memory and sharing of a training step."""
    loop: LoopConfig = LoopConfig()
    """Logging and checkpoints."""
    data: DataConfig = DataConfig()
    """Training data."""
    objective: LatentDistance = LatentDistance()
    """Distance to the goal that plans minimise."""
    planner: Planner = CEM()
    """Search of action sequences."""
    agent: AgentConfig = AgentConfig()
    """Use of the model while acting."""
    protocols: Annotated[tuple[Protocol, ...], tyro.conf.Suppress] = field(
        default=tuple(PROTOCOLS.values())
    )
    """Evaluation protocols of the environment."""

    def __post_init__(self) -> None:
        """Check what spans several parts; a UserError says what to change."""
        if self.agent.window > self.predictor.window:
            raise UserError(
                f"agent.window = {self.agent.window} exceeds predictor.window = "
                f"{self.predictor.window}; lower the former or raise the latter"
            )
        if self.loss.rollout_steps > self.data.num_steps:
            raise UserError(
                f"loss.rollout_steps = {self.loss.rollout_steps} exceeds data.num_steps = "
                f"{self.data.num_steps}; lower the former or raise the latter"
            )
        if self.data.num_steps * self.data.frameskip > self.data.episode_steps:
            raise UserError(
                f"data.num_steps x data.frameskip = {self.data.num_steps * self.data.frameskip} "
                f"exceeds data.episode_steps = {self.data.episode_steps}; shorten the windows"
            )
        loss = self.loss
        useless = {
            "loss.regularizer": loss.regularizer != "none",
            "loss.inverse_dynamics_weight": loss.inverse_dynamics_weight > 0,
            "loss.temporal_weight": loss.temporal_weight > 0,
            "optim.encoder_steps": self.optim.encoder_steps is not None,
        }
        if not isinstance(self.encoder, EncoderConfig) and any(useless.values()):
            names = ", ".join(name for name, used in useless.items() if used)
            raise UserError(
                f"{names} would act on the tokens of the frozen encoder {self.encoder.name}, which "
                "do not change; set it to none or 0"
            )
        if self.objective.step_weight > 0 and not loss.step_distance_weight > 0:
            raise UserError(
                f"objective.step_weight = {self.objective.step_weight} needs a model that learned "
                "the number of steps; train with loss.step_distance_weight above 0"
            )
        if isinstance(self.encoder, EncoderConfig) and self.data.feature_cache is not None:
            raise UserError(
                f"data.feature_cache = {self.data.feature_cache!r} keeps the tokens of a frozen "
                "encoder, and this one is learned; set it to None"
            )
        kept = self.data.feature_cache is not None or self.optim.encoder_steps is not None
        if self.data.augmentation.changes_pixels and kept:
            keepers = "data.feature_cache and optim.encoder_steps"
            raise UserError(f"data.augmentation.shift and color exclude {keepers}; drop either")
        for protocol in self.protocols:
            if protocol.frameskip != self.data.frameskip:
                raise UserError(
                    f"data.frameskip = {self.data.frameskip} differs from the frameskip "
                    f"{protocol.frameskip} of protocol {protocol.name}; the model and the "
                    "protocol must agree"
                )

    def protocol(self, name: str) -> Protocol:
        """Return the evaluation protocol called `name`.

        Raises:
            UserError: if there is none; the message lists those there are.
        """
        for protocol in self.protocols:
            if protocol.name == name:
                return protocol
        known = ", ".join(sorted(protocol.name for protocol in self.protocols))
        raise UserError(f"unknown protocol {name!r} (known: {known})")


def build_model(experiment: Experiment, *, action_dim: int, proprio_dim: int) -> JEPAWorldModel:
    """Build the world model with random weights that depend on the seed alone.

    A frozen encoder has the weights that its configuration names.

    Args:
        experiment: the configuration.
        action_dim: width of one environment action; blocks hold frameskip of them.
        proprio_dim: width of the proprioception, 0 if there is none.

    Raises:
        UserError: if the weights of a frozen encoder are not there, or parts do not fit.
    """
    from jepawm.models.frozen.weights import (
        load_frozen_encoder,  # the hub itself builds experiments
    )

    config = experiment.encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        encoder = (
            build_encoder(config)
            if isinstance(config, EncoderConfig)
            else load_frozen_encoder(config)
        )
        return build_world_model(
            encoder,
            experiment.predictor,
            proprio=experiment.proprio,
            action_dim=experiment.data.frameskip * action_dim,
            proprio_dim=proprio_dim,
            with_step_distance=experiment.loss.step_distance_weight > 0,
        )


def with_encoder_weights(experiment: Experiment, weights: str) -> Experiment:
    """Return the experiment with the frozen encoder's weights taken from elsewhere.

    Raises:
        UserError: if its encoder is learned: its weights are those of the checkpoint.
    """
    if isinstance(experiment.encoder, EncoderConfig):
        raise UserError(
            f"encoder weights {weights!r} are given for a model whose encoder is learned; its "
            "weights are in the checkpoint, leave the option out"
        )
    return replace(experiment, encoder=replace(experiment.encoder, weights=weights))


def build_normalizer(experiment: Experiment, store: EpisodeStore) -> Normalizer:
    """Return the statistics of all but held-out data, or nothing where `data.normalize` is off."""
    seen, _ = hold_out(len(store), num_held_out=experiment.data.held_out)
    statistics = store.normalizer(num_episodes=len(seen))
    return statistics if experiment.data.normalize else statistics.identity()


def build_windows(
    experiment: Experiment, store: EpisodeStore, *, features: FeatureStore | None = None
) -> tuple[Windows, Windows]:
    """Cut a store into training and validation windows, split by episode; see `Windows`."""
    data = experiment.data
    seen, _ = hold_out(len(store), num_held_out=data.held_out)
    parts = split_episodes(len(seen), train_fraction=data.train_fraction, seed=data.split_seed)
    cut = partial(
        Windows,
        store,
        features=features,
        num_steps=data.num_steps,
        frameskip=data.frameskip,
        normalizer=build_normalizer(experiment, store),
    )
    return cut(episodes=parts[0]), cut(episodes=parts[1])


def experiment_to_json(experiment: Experiment) -> dict[str, JsonValue]:
    """Return the configuration as plain JSON; the planner carries its name."""
    return cast(dict[str, JsonValue], _CONVERTER.unstructure(experiment))


def experiment_from_json(data: object, *, source: str) -> Experiment:
    """Rebuild a configuration; every field is checked.

    Raises:
        UserError: if a field is unknown or of the wrong type; the message names it.
    """
    if not isinstance(data, dict):
        raise UserError(f"{source} is not a configuration of this version: it is no JSON object")
    for path, neutral in RETIRED_FIELDS.items():
        data = _without_retired(data, path.split("."), neutral=neutral, source=f"{source}: {path}")
    try:
        return _CONVERTER.structure(data, Experiment)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(
            f"{source} is not a configuration of this version: {problems(error)}; mend these fields"
        ) from error


def _without_retired(
    data: Mapping[str, object], path: Sequence[str], *, neutral: JsonValue, source: str
) -> dict[str, object]:
    """Return the configuration without the field at `path`, which must have no effect there."""
    first, *rest = path
    kept = dict(data)
    inner = kept.get(first)
    if rest and isinstance(inner, Mapping):
        kept[first] = _without_retired(inner, rest, neutral=neutral, source=source)
    elif not rest and kept.pop(first, neutral) != neutral:
        raise UserError(
            f"{source} = {inner!r}: this version has no such field, and does only what "
            f"{neutral!r} did; use the version that wrote it"
        )
    return kept


def _encoder_from_json(data: object, _kind: object) -> AnyEncoderConfig:
    family = data.get("family") if isinstance(data, dict) else None
    for kind in get_args(AnyEncoderConfig):
        if family in get_args(get_type_hints(kind)["family"]):
            return _CONVERTER.structure(data, kind)
    raise ValueError(f"{family!r} is no family of encoders")


def _converter() -> cattrs.Converter:
    converter = strict_converter()
    converter.register_structure_hook_func(
        lambda kind: kind == AnyEncoderConfig, _encoder_from_json
    )
    register_named(converter, Planner, registry=PLANNERS)
    register_named(converter, CollectionPolicy, registry=POLICIES)
    return converter


_CONVERTER = _converter()
