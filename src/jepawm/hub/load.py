"""Load a trained model from a run or a checkpoint folder, or by bundled or released name."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import torch

from jepawm.agent import AgentConfig, PlanningAgent
from jepawm.build import build_model, require_weights, with_encoder_weights
from jepawm.checkpoint import find_checkpoint, load_checkpoint, read_record
from jepawm.contracts import Env, Objective, Planner
from jepawm.control import RobotLoop
from jepawm.data.resample import Fit
from jepawm.envs import RECORDINGS, build_env
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_from_json
from jepawm.hub.download import HF, fetch_model
from jepawm.hub.heads import FOLDERS, load_head
from jepawm.hub.imports import import_jepa_wms
from jepawm.hub.proposers import PROPOSER, load_proposer, own_verify
from jepawm.hub.released import RELEASED, fetch_released, released_experiment
from jepawm.hub.rewards import REWARD, load_reward
from jepawm.hub.robots import cameras_of, robot_loop, robot_rules, seen_by
from jepawm.hub.texts import TEXT, load_text
from jepawm.models.frozen.encoder import FrozenEncoder
from jepawm.models.frozen.weights import require_same_encoder
from jepawm.models.heads import LinearProbe
from jepawm.models.latent_heads import Kind, LatentHead
from jepawm.models.proposer import Proposer
from jepawm.models.rewards import RewardEnsemble
from jepawm.models.text_head import TextReader
from jepawm.models.weight_files import load_weights
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer
from jepawm.planning.ask_tell import require_package
from jepawm.planning.presets import find_preset
from jepawm.planning.proposing import takes_proposals
from jepawm.planning.terms.heads import Heads
from jepawm.protocol import Protocol
from jepawm.records import ModelRecord, TrainedOn, require_model

MODEL, PROBE = "model.", "probe."
"""Prefixes of the world model's and the probe's tensors in a checkpoint."""
BEST = "best"
"""Folder of a run for the best checkpoint in validation (`loop.keep_best`)."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A trained world model, ready to plan with."""

    name: str
    """Bundled name or folder that it was loaded from."""
    model: JEPAWorldModel
    """The world model, in evaluation mode, without gradients."""
    normalizer: Normalizer
    """Statistics of its training data."""
    experiment: Experiment
    """Its whole configuration."""
    run: Path
    """Folder that holds `experiment.json` and `metrics.jsonl` of its training, where they exist."""
    probe: LinearProbe | None
    """Linear map from latents to simulator states; None if the data had none."""
    step: int | None = None
    """Optimiser steps of its training at this checkpoint; None for an imported model."""
    data: TrainedOn | None = None
    """Which data it learned from, their camera, rate and fit; None for an imported model."""

    @property
    def image_size(self) -> int:
        """Return the side in pixels of the frames that it learned from."""
        return self.model.image_size or self.experiment.data.image_size

    def make_env(self) -> Env:
        """Build the environment that the model was trained for, with images of its size."""
        if self.experiment.env == RECORDINGS:
            raise UserError(
                f"{self.name} was trained on recordings, there is no environment to build; build "
                "your own and act in it, or measure the model by `jepawm eval --offline`"
            )
        return build_env(self.experiment.env, image_size=self.image_size)

    def agent(
        self,
        *,
        protocol: str | Protocol = "paper",
        planner: Planner | None = None,
        objective: Objective | None = None,
        config: AgentConfig | None = None,
        seed: int = 0,
    ) -> PlanningAgent:
        """Return an agent that plans with this model.

        Args:
            protocol: how far it plans and how often: a protocol, or the name of one of the
                experiment's.
            planner: search; None: the experiment's, with the protocol's number of iterations.
            objective: what plans minimise; None: the experiment's.
            config: use of the model; None: the experiment's.
            seed: seed of the planner's random numbers.
        """
        rules = self.experiment.protocol(protocol) if isinstance(protocol, str) else protocol
        planner = planner or _own_planner(self.experiment.planner, rules)
        require_package(planner)
        return PlanningAgent(
            self.model,
            objective=objective or self.experiment.objective,
            planner=planner,
            normalizer=self.normalizer,
            protocol=rules,
            config=config or self.experiment.agent,
            proposer=self._proposer_for(rules) if takes_proposals(planner) else None,
            heads=Heads(probe=self.state_probe, reward=self.reward, text=self.text),
            seed=seed,
        )

    def robot(
        self,
        *,
        fit: Fit | None = None,
        horizon: int = 3,
        num_action_steps: int = 1,
        planner: Planner | None = None,
        cameras: Sequence[str] = (),
        seed: int = 0,
    ) -> RobotLoop:
        """Return an agent for one robot, which takes pictures of its camera as they are.

        Args:
            fit: how pictures become square; None: as those of the training data did.
            horizon: action blocks that a plan looks ahead, `data.frameskip` actions each.
            num_action_steps: action blocks that are executed before the next plan.
            planner: search; None: the experiment's.
            cameras: which of several cameras it plans with; none named: all that it learned from.
            seed: seed of the planner's random numbers.
        """
        loaded = self.seeing(cameras) if cameras else self
        counts = {"horizon": horizon, "num_action_steps": num_action_steps}
        rules = robot_rules(frameskip=self.experiment.data.frameskip, **counts)
        agent = loaded.agent(protocol=rules, planner=planner, seed=seed)
        return robot_loop(agent, loaded, fit=fit)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras that it sees; empty where nobody knows."""
        return cameras_of(self)

    def seeing(self, cameras: Sequence[str]) -> "LoadedModel":
        """Return the model as it sees some of several cameras."""
        return replace(self, model=seen_by(self, cameras))

    @cached_property
    def proposer(self) -> Proposer | None:
        """Return the proposer beside the checkpoint; None if there is none."""
        folder = self.run / PROPOSER
        if find_checkpoint(folder) is None:
            return None
        device = self.normalizer.action_mean.device
        return load_proposer(folder, model=self.model, device=device)

    @cached_property
    def decoder(self) -> LatentHead | None:
        """Return the decoder of pictures beside the checkpoint; None if there is none."""
        return self._head("pixels")

    @cached_property
    def state_probe(self) -> LatentHead | LinearProbe | None:
        """Return what reads simulator states: the trained probe beside the checkpoint, else `probe`."""
        return self._head("states") or self.probe

    def require_decoder(self) -> LatentHead:
        """Return the decoder; an error says how to train one."""
        if self.decoder is None:
            place = "" if Path(self.name).is_dir() else " --out RUN"
            raise UserError(
                f"{self.name} has no decoder of pictures; train one by `jepawm train-decoder "
                f"{self.name}{place}`"
            )
        return self.decoder

    def _head(self, kind: Kind) -> LatentHead | None:
        folder = self.run / FOLDERS[kind]
        if find_checkpoint(folder) is None:
            return None
        device = self.normalizer.action_mean.device
        return load_head(folder, kind=kind, model=self.model, device=device)

    def reward(self, folder: str = REWARD) -> RewardEnsemble:
        """Return the learned reward in a folder beside the checkpoint."""
        device = self.normalizer.action_mean.device
        return load_reward(self.run / folder, model=self.model, device=device)[0]

    def text(self, folder: str = TEXT) -> TextReader:
        """Return the map from latents to texts in a folder beside the checkpoint."""
        device = self.normalizer.action_mean.device
        if folder not in self._texts:
            self._texts[folder] = load_text(self.run / folder, model=self.model, device=device)
        return self._texts[folder]

    @cached_property
    def _texts(self) -> dict[str, TextReader]:
        return {}

    def _proposer_for(self, protocol: Protocol) -> Proposer:
        """Return the proposer, if it plans as far as a protocol does."""
        place = "" if Path(self.name).is_dir() else " --out RUN"
        if self.proposer is None:
            raise UserError(
                f"{self.name} has no proposer, which the planner asks for; train one by `jepawm "
                f"train-proposer {self.name}{place}`, or choose another planner or preset"
            )
        if self.proposer.horizon < protocol.horizon:
            raise UserError(
                f"protocol {protocol.name} plans {protocol.horizon} action blocks, and the proposer "
                f"of {self.name} {self.proposer.horizon} at most; train one by `jepawm train-proposer "
                f"{self.name}{place} --horizon {protocol.horizon} --overwrite`, or choose another planner"
            )
        return self.proposer


def _own_planner(planner: Planner, protocol: Protocol) -> Planner:
    """Return the planner with the protocol's number of iterations, where both have one."""
    if protocol.num_iterations is None or not hasattr(planner, "num_iterations"):
        return planner
    return replace(planner, num_iterations=protocol.num_iterations)  # pyright: ignore[reportArgumentType]


def load(
    source: str | Path,
    *,
    device: str = "cpu",
    encoder_weights: str | None = None,
    trust: bool = False,
) -> LoadedModel:
    """Load a model by run folder, checkpoint folder, bundled name or released name.

    A run folder stands for its last checkpoint; `RUN/best` is another one, where the run keeps it.
    Released models (`jepa_wm_pusht`, ...) are fetched from the Hugging Face hub once.

    Args:
        source: name or folder.
        device: where the model goes.
        encoder_weights: where the weights of its frozen encoder are here, as `encoder.weights`;
            None: where its training found them.
        trust: run code of other people that only the checkpoint names, as `my_module:MyEncoder`.
    """
    folder = _resolve(source)
    if folder is None:
        path = fetch_released(str(source))
        folder, where = path.parent, str(path)
        checkpoint = import_jepa_wms(path, str(source)).checkpoint()
    else:
        checkpoint, where = load_checkpoint(folder), str(folder / "config.json")
        _tell_of_best(folder)
    record = require_model(checkpoint.record, source=source)
    experiment = experiment_from_json(record.experiment, source=where, trust=trust)
    if encoder_weights is not None:
        experiment = with_encoder_weights(experiment, encoder_weights)
    weights = {k: v for k, v in checkpoint.tensors.items() if not k.startswith(PROBE)}
    widths = {"action_dim": record.action_dim, "proprio_dim": record.proprio_dim}
    require_weights(experiment, weights, **widths, prefix=MODEL, source=where)
    _require_widths(record, source=where)
    model = build_model(experiment, **widths, image_size=_image_size(record, experiment))
    # An imported checkpoint does not know the hash of its encoder: the file did not hold it.
    if isinstance(model.encoder, FrozenEncoder) and record.imported is None:
        require_same_encoder(model.encoder, record.encoder, source=where)
    load_weights(torch.nn.ModuleDict({"model": model}), weights, source=str(folder))
    probe = _probe({k: v for k, v in checkpoint.tensors.items() if k.startswith(PROBE)}, folder)
    return LoadedModel(
        name=str(source),
        model=model.eval().requires_grad_(requires_grad=False).to(device),
        normalizer=record.normalizer.to(device),
        experiment=experiment,
        run=_run_of(folder),
        probe=None if probe is None else probe.to(device),
        step=record.step,
        data=record.data,
    )


def load_experiment(source: str | Path, *, trust: bool = False) -> Experiment:
    """Return the configuration of a model, by folder or name; its weights are not read."""
    folder = _resolve(source)
    if folder is None:
        return released_experiment(str(source))
    return experiment_from_json(
        read_record(folder).experiment, source=str(folder / "config.json"), trust=trust
    )


def preset_planner(source: str | Path, preset: str, *, trust: bool = False) -> Planner:
    """Return the planner of a preset for a model: its action blocks, its proposer's settings."""
    experiment, folder = load_experiment(source, trust=trust), _resolve(source)
    verify = None if folder is None else own_verify(_run_of(folder))
    return find_preset(preset, frameskip=experiment.data.frameskip, verify=verify)


def bundled_names() -> list[str]:
    """List the checkpoints that come with this package."""
    folder = _bundle()
    if not folder.is_dir():
        return []
    return sorted(item.name for item in folder.iterdir() if (item / "config.json").is_file())


def bundled_folder(name: str) -> Path | None:
    """Return the folder of a checkpoint that comes with this package; None for other names."""
    return _bundle() / name if name in bundled_names() else None


def _require_widths(record: ModelRecord, *, source: str) -> None:
    """Refuse statistics of other widths than the actions and the proprioception have."""
    mean = record.normalizer.proprio_mean
    widths = (record.normalizer.action_dim, record.proprio_dim if mean is None else len(mean))
    if widths != (record.action_dim, record.proprio_dim):
        raise UserError(
            f"{source}: normalizer is for actions and proprioception of widths {widths}, dims says "
            f"{record.action_dim} and {record.proprio_dim}; copy the checkpoint again"
        )


def _image_size(record: ModelRecord, experiment: Experiment) -> int | None:
    """Return the side of the frames that a model learned from; None where nobody said."""
    if record.data is not None:
        return record.data.image_size
    collected = experiment.data.store is None and record.imported is None
    return experiment.data.image_size if collected else None


def _resolve(source: str | Path) -> Path | None:
    """Return the folder of a checkpoint; None for the name of a released model."""
    if str(source).startswith(HF):
        return _fetched(str(source))
    path = Path(source)
    for folder in (path / "checkpoint", path):
        if find_checkpoint(folder) is not None:
            return folder
    if str(source) in bundled_names():
        return _bundle() / str(source)
    if path.exists():
        load_checkpoint(path / "checkpoint" if (path / "checkpoint").exists() else path)  # says why
    if str(source) in RELEASED:
        return None
    known = ", ".join(bundled_names()) or "none"
    raise UserError(
        f"no model {str(source)!r}: neither a run folder, nor a bundled checkpoint "
        f"(bundled: {known}), nor a released model ({', '.join(RELEASED)}), "
        "nor hf://user/repo; train one with `jepawm train RECIPE --out RUN`"
    )


def _tell_of_best(folder: Path) -> None:
    """Say which of two checkpoints of a run this is, where it keeps its best one too."""
    best = folder.parent / BEST
    if folder.name == "checkpoint" and find_checkpoint(best) is not None:
        _LOG.info(
            "%s: the last checkpoint, of step %s; the best in validation, of step %s, is %s",
            folder.parent,
            read_record(folder).step,
            read_record(best).step,
            best,
        )


def _run_of(folder: Path) -> Path:
    """Return the run that a folder with a checkpoint belongs to."""
    return folder.parent if folder.name == "checkpoint" else folder


def _fetched(source: str) -> Path:
    """Return the folder of a model on the hub, which must be one of this library."""
    folder = fetch_model(source)
    if find_checkpoint(folder) is None:
        raise UserError(
            f"{source} is no model of this library: its repository has no config.json; files of other "
            "projects are brought here by `jepawm import`"
        )
    return folder


def _bundle() -> Path:
    return Path(str(files("jepawm.hub"))) / "checkpoints"


def _probe(tensors: Mapping[str, torch.Tensor], folder: Path) -> LinearProbe | None:
    if not tensors:
        return None
    weight = tensors.get(PROBE + "weight")
    if weight is None or weight.ndim != 2:
        raise UserError(f"{folder} has a probe without a weight matrix; copy the checkpoint again")
    probe = LinearProbe(latent_width=weight.shape[1], state_dim=weight.shape[0])
    load_weights(torch.nn.ModuleDict({"probe": probe}), tensors, source=str(folder))
    return probe
