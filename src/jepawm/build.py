"""Build what an experiment says: model, normaliser, windows of its data."""

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from jepawm.contracts import BuildsEncoder, Encoder
from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import FeatureStore
from jepawm.data.windows import Windows, hold_out, split_episodes
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.models.frozen.encoder import AnyFrozenConfig
from jepawm.models.world_model import JEPAWorldModel, build_world_model
from jepawm.normalizer import Normalizer


def build_model(experiment: Experiment, *, action_dim: int, proprio_dim: int) -> JEPAWorldModel:
    """Build the world model with random weights that depend on the seed alone.

    A frozen encoder has the weights that its configuration names.

    Args:
        experiment: the configuration.
        action_dim: width of one environment action; blocks hold frameskip of them.
        proprio_dim: width of the proprioception, 0 if there is none.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        return build_world_model(
            _build_encoder(experiment.encoder),
            experiment.predictor,
            proprio=experiment.proprio,
            action_dim=experiment.data.frameskip * action_dim,
            proprio_dim=proprio_dim,
            with_step_distance=experiment.loss.step_distance_weight > 0,
        )


def with_encoder_weights(experiment: Experiment, weights: str) -> Experiment:
    """Return the experiment with the frozen encoder's weights taken from elsewhere."""
    if not isinstance(experiment.encoder, AnyFrozenConfig):
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


def _build_encoder(config: BuildsEncoder) -> Encoder:
    """Build the encoder and check what the predictor needs of it: it may be the user's own."""
    encoder = config.build()
    name = f"{type(config).__name__}.build()"
    if not isinstance(encoder, nn.Module):
        raise UserError(f"{name} returned {type(encoder).__name__}; it must return an nn.Module")
    absent = [part for part in ("num_tokens", "dim", "grid") if not hasattr(encoder, part)]
    if absent:
        raise UserError(
            f"{name} returned a module without {', '.join(absent)}; set them in __init__ "
            "(jepawm.testing.check_encoder says what an encoder is)"
        )
    return encoder
