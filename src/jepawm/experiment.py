"""The whole configuration of a run, and its way to JSON and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, cast, get_args, get_type_hints

import cattrs
import tyro
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from jepawm.agent import AgentConfig
from jepawm.contracts import BuildsEncoder, CollectionPolicy, Objective, Planner
from jepawm.data.action_forms import Asked
from jepawm.data.augmentation import AugmentationConfig
from jepawm.envs import ENVIRONMENTS, POLICIES, RECORDINGS
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError, require_numbers, require_range
from jepawm.models import ENCODERS
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import (
    AnyFrozenConfig,
    FrozenEncoderConfig,
    SmallViTConfig,
    TimmEncoderConfig,
)
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning import OBJECTIVES, PLANNERS
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.terms.composition import parts_of
from jepawm.proposals import NO_PROPOSALS, ProposalConfig
from jepawm.protocol import PROTOCOLS, Protocol
from jepawm.records import JsonValue
from jepawm.registry import UntrustedModuleError, count_as_named
from jepawm.strict_json import Unnamed, problems, register_named, strict_converter
from jepawm.training.devices import ComputeConfig
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig
from jepawm.training.train import LoopConfig

RETIRED_FIELDS: Mapping[str, JsonValue] = {
    "agent.engine.keep_tokens": 1.0,
    "agent.engine.streaming": False,
    "loss.straightening_weight": 0.0,
    "planner.diagonal": False,
    "planner.screen_steps": 0,
    "planner.sampler.screen_steps": 0,
}
"""Fields of earlier versions, and the value at which each had no effect: so they still load."""


_LARGEST_SEED = 2**42 - 1
"""Generators of the steps are seeded by two million times the seed, in 64 bits."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which experience a model is trained on, and how it is cut."""

    store: str | None = None
    """Store of imported data, a path or a name below the data root; None: collected."""
    cameras: tuple[str, ...] = ()
    """Cameras to learn from, of a store that holds several; all of them if not given."""
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
    actions: tuple[Asked, ...] = ("absolute",)
    """How the model takes the columns of recorded actions, one form for all or one for each: `absolute`,
    `relative` to the proprioception, `difference` from the last command, or `auto`, the smallest."""
    normalize: bool = True
    """Normalise actions and proprioception by the statistics of the data; False takes them raw."""
    feature_cache: str | None = None
    """Tokens of a frozen encoder computed once: `auto` (next to the store), or a folder; None: never."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How windows are varied in training."""
    policy: CollectionPolicy = RandomWall()
    """Where collected episodes start and what is done in them."""

    def __post_init__(self) -> None:
        """Check ranges."""
        counts = ("num_episodes", "episode_steps", "image_size", "frameskip", "num_steps")
        require_range(self, counts, where="data", least=1)
        require_range(self, ("seed", "split_seed"), where="data", least=0, most=2**32 - 1)
        require_range(self, ("held_out",), where="data", least=0)
        require_range(self, ("train_fraction",), where="data", least=0, most=1)
        if len(set(self.cameras)) < len(self.cameras) or "" in self.cameras:
            raise UserError(f"data.cameras = {', '.join(self.cameras)}; name each camera once")
        if not self.actions:
            raise UserError("data.actions is empty; give auto, absolute, relative or difference")
        require_numbers(self, "data")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides the outcome of a run."""

    name: Annotated[str, tyro.conf.Suppress] = "experiment"
    """Name of the recipe."""
    env: str = "wall"
    """Environment to collect in and to plan in; `recordings`: there is none, only data."""
    seed: int = 0
    """Seed of the weights, of the order of the data and of all random numbers of training."""
    init_from: str | None = None
    """Run, or bundled or released checkpoint, whose weights training starts from; random ones if not given."""
    encoder: BuildsEncoder = EncoderConfig()
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
    objective: Objective = LatentDistance()
    """Distance to the goal that plans minimise."""
    planner: Planner = CEM()
    """Search of action sequences."""
    agent: AgentConfig = AgentConfig()
    """Use of the model while acting."""
    proposals: ProposalConfig = NO_PROPOSALS
    """Training of its proposer, the last stage of `jepawm train`; 0 steps: none."""
    protocols: Annotated[tuple[Protocol, ...], tyro.conf.Suppress] = field(
        default=tuple(PROTOCOLS.values())
    )
    """Evaluation protocols of the environment."""

    def __post_init__(self) -> None:
        """Check what spans several parts, and that every number is one."""
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UserError(f"seed = {self.seed}; give 0 to {_LARGEST_SEED}")
        require_range(self.agent, ("window",), where="agent", least=1)
        require_numbers(self, "")
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
        if isinstance(self.encoder, AnyFrozenConfig) and any(useless.values()):
            names = ", ".join(name for name, used in useless.items() if used)
            raise UserError(
                f"{names} would act on the tokens of the frozen encoder {self.encoder.name}, which "
                "do not change; set it to none or 0"
            )
        self._require_weights()
        self._require_forms()
        self._require_learned_views()
        self._require_best()
        step_weight = max(getattr(part, "step_weight", 0.0) for part in parts_of(self.objective))
        if step_weight > 0 and not loss.step_distance_weight > 0:
            raise UserError(
                f"objective.step_weight = {step_weight} needs a model that learned "
                "the number of steps; train with loss.step_distance_weight above 0"
            )
        if not isinstance(self.encoder, AnyFrozenConfig) and self.data.feature_cache is not None:
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

    def _require_weights(self) -> None:
        """Refuse an encoder that neither learns nor starts from weights."""
        started = self.init_from is not None or getattr(self.encoder, "init", None) is not None
        if self.optim.encoder_steps == 0 and not started:
            raise UserError(
                "optim.encoder_steps = 0 would keep the random weights of the encoder; start from a "
                "trained one by --init-from, or let it learn"
            )

    def _require_forms(self) -> None:
        """Refuse forms of actions that an environment would not understand."""
        if self.env != RECORDINGS and set(self.data.actions) != {"absolute"}:
            raise UserError(
                f"data.actions = {', '.join(self.data.actions)}; the environment {self.env} takes "
                "actions as they are recorded: set it to absolute"
            )

    def _require_learned_views(self) -> None:
        """Refuse several cameras of a frozen encoder."""
        if isinstance(self.encoder, AnyFrozenConfig) and len(self.data.cameras) > 1:
            raise UserError(
                f"data.cameras = {', '.join(self.data.cameras)}: several cameras have learned encoders, "
                f"and {self.encoder.name} is frozen; choose one camera, or --encoder conv or vit"
            )

    def _require_best(self) -> None:
        """Refuse to keep the best of a metric that no validation of this experiment has."""
        name = self.loop.keep_best
        if name is None:
            return
        known = {f"val/prediction_k{k}" for k in range(1, self.data.num_steps + 1)}
        known |= {"val/prediction", *(["val/rollout"] if self.loss.rollout_steps > 1 else [])}
        if name not in known or self.data.train_fraction == 1:
            what = "there is no validation (data.train_fraction = 1)"
            if self.data.train_fraction != 1:
                what = f"it measures {', '.join(sorted(known))}"
            raise UserError(f"loop.keep_best = {name} needs a validation that measures it; {what}")

    def protocol(self, name: str) -> Protocol:
        """Return the evaluation protocol called `name`."""
        for protocol in self.protocols:
            if protocol.name == name:
                return protocol
        known = ", ".join(sorted(protocol.name for protocol in self.protocols))
        raise UserError(f"unknown protocol {name!r} (known: {known})")


def experiment_to_json(experiment: Experiment) -> dict[str, JsonValue]:
    """Return the configuration as plain JSON; parts carry their names."""
    name_modules(experiment)
    return cast(dict[str, JsonValue], _CONVERTERS[True].unstructure(experiment))


def experiment_from_json(data: object, *, source: str, trust: bool = False) -> Experiment:
    """Rebuild a configuration; every field is checked.

    Args:
        data: plain JSON.
        source: the file it was read from, for messages.
        trust: import modules of other people's parts that only this file names. Without it the
            user must have named them too: by the command line, `register` or an entry point.
    """
    if not isinstance(data, dict):
        raise UserError(f"{source} is not a configuration of this version: it is no JSON object")
    for path, neutral in RETIRED_FIELDS.items():
        data = _without_retired(data, path.split("."), neutral=neutral, source=f"{source}: {path}")
    data = _with_statistics(data)
    try:
        env = data.get("env")
        if isinstance(env, str) and not trust:
            ENVIRONMENTS.require_named(env)
        experiment = _CONVERTERS[trust].structure(data, Experiment)
    except UntrustedModuleError as error:
        raise UserError(f"{source} is not loaded: {error}") from error
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        untrusted = _first_untrusted(error)
        if untrusted is not None:
            raise UserError(f"{source} is not loaded: {untrusted}") from error
        raise UserError(
            f"{source} is not a configuration of this version: {problems(error)}; fix these fields"
        ) from error
    if trust:  # the user has named them by that
        name_modules(experiment)
    return experiment


def name_modules(experiment: Experiment) -> None:
    """Count the modules of an experiment's parts as named by the user, who made it."""
    terms = parts_of(experiment.objective)
    parts = (experiment.encoder, *terms, experiment.planner, experiment.data.policy)
    count_as_named(*(f"{type(part).__module__}:" for part in parts), experiment.env)


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


def _with_statistics(data: Mapping[str, object]) -> Mapping[str, object]:
    """Return the configuration with the statistics of its learned encoder.

    Versions before there was a choice shared them between the positions of a grid.
    """
    encoder = data.get("encoder")
    if not isinstance(encoder, Mapping) or "name" in encoder or "statistics" in encoder:
        return data
    if encoder.get("family") not in get_args(get_type_hints(EncoderConfig)["family"]):
        return data
    return {**data, "encoder": {**encoder, "statistics": "shared"}}


def _first_untrusted(error: BaseException) -> UntrustedModuleError | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_first_untrusted, error.exceptions)), None)
    return error if isinstance(error, UntrustedModuleError) else None


def _built_in_encoder(data: Mapping[str, object]) -> type:
    family = data.get("family")
    for kind in _BUILT_IN_ENCODERS:
        if family in get_args(get_type_hints(kind)["family"]):
            return kind
    raise ValueError(f"{family!r} is not a family of encoders")


_BUILT_IN_ENCODERS = (EncoderConfig, FrozenEncoderConfig, TimmEncoderConfig, SmallViTConfig)


def _converter(*, trust: bool) -> cattrs.Converter:
    converter = strict_converter()
    named = partial(register_named, converter, trust=trust)
    named(
        BuildsEncoder,
        registry=ENCODERS,
        unnamed=Unnamed(kinds=_BUILT_IN_ENCODERS, choose=_built_in_encoder),
    )
    named(
        Objective,
        registry=OBJECTIVES,
        unnamed=Unnamed(kinds=(LatentDistance,), choose=lambda _: LatentDistance),
    )
    named(Planner, registry=PLANNERS)
    named(CollectionPolicy, registry=POLICIES)
    return converter


_CONVERTERS = {trust: _converter(trust=trust) for trust in (False, True)}
