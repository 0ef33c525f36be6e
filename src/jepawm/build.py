"""Build what an experiment says: model, normaliser, windows of its data."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from jepawm.border import foreign
from jepawm.contracts import BuildsEncoder, Encoder
from jepawm.data.action_forms import with_forms
from jepawm.data.episodes import EpisodeStore
from jepawm.data.features import FeatureStore
from jepawm.data.windows import Windows, hold_out, split_episodes, too_few
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.models.encoders import EncoderConfig, GivenTokens
from jepawm.models.frozen.encoder import AnyFrozenConfig, FrozenEncoderConfig, SmallViTConfig
from jepawm.models.heads import StepDistanceHead
from jepawm.models.layout import layout_only
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig, ProprioEncoder
from jepawm.models.views import ViewsEncoder
from jepawm.models.weight_files import list_misfits, shorten
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer

_LOG = logging.getLogger(__name__)
_LARGEST_SIDE, _LARGEST_TABLES = 4096, 2**30
"""Pixels to a side of the images of a loaded model, and bytes of what it keeps besides weights."""


def build_model(
    experiment: Experiment, *, action_dim: int, proprio_dim: int, image_size: int | None = None
) -> JEPAWorldModel:
    """Build the world model with random weights that depend on the seed alone.

    A frozen encoder has the weights that its configuration names.

    Args:
        experiment: the configuration.
        action_dim: width of one environment action; blocks hold frameskip of them.
        proprio_dim: width of the proprioception, 0 if there is none.
        image_size: side in pixels of the frames that it learns from; None: not known.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        encoder = _build_encoder(experiment)
        return _around(encoder, experiment, (action_dim, proprio_dim), image_size=image_size)


def require_weights(
    experiment: Experiment,
    tensors: Mapping[str, Tensor],
    *,
    action_dim: int,
    proprio_dim: int,
    prefix: str,
    source: str,
) -> None:
    """Compare stored weights with a configuration, before memory is taken for its model.

    Of encoders that others wrote nothing is known before they are built; theirs are left out.

    Args:
        experiment: the configuration.
        tensors: the weights of its world model by name.
        action_dim: width of one environment action.
        proprio_dim: width of the proprioception, 0 if there is none.
        prefix: what the names begin with.
        source: the file of the configuration, for messages.
    """
    config = experiment.encoder
    sizes = (experiment.data.image_size, getattr(config, "image_size", 1))
    if not all(1 <= size <= _LARGEST_SIDE for size in sizes):
        raise UserError(
            f"{source}: data.image_size = {sizes[0]}, encoder.image_size = {sizes[1]}; models of "
            f"images of 1 to {_LARGEST_SIDE} pixels a side are loaded"
        )
    if experiment.predictor.depth > len(tensors):
        raise UserError(
            f"{source}: predictor.depth = {experiment.predictor.depth}, and the weights are "
            f"{len(tensors)} tensors; copy the checkpoint again"
        )
    if not isinstance(config, EncoderConfig | FrozenEncoderConfig | SmallViTConfig):
        return
    with foreign(Path(source), "configuration of a model"), layout_only():
        if isinstance(config, EncoderConfig):
            encoder = _build_encoder(experiment)
        else:
            side = config.image_size // config.shape.patch_size
            encoder = GivenTokens(dim=config.shape.width, grid=(side, side))
        model = _around(encoder, experiment, (action_dim, proprio_dim))
    tables = sum(table.numel() * table.element_size() for table in model.buffers())
    if tables > _LARGEST_TABLES:
        raise UserError(
            f"{source} describes a model with {tables:,} bytes of tables; copy it again"
        )
    expected = {f"{prefix}{k}": tuple(v.shape) for k, v in model.state_dict().items()}
    misfits = list_misfits(expected, tensors)
    if misfits:
        raise UserError(f"{source} does not fit its configuration: {shorten(misfits)}")


def with_encoder_weights(experiment: Experiment, weights: str) -> Experiment:
    """Return the experiment with the frozen encoder's weights taken from elsewhere."""
    if not isinstance(experiment.encoder, AnyFrozenConfig):
        raise UserError(
            f"encoder weights {weights!r} are given for a model whose encoder is learned; its "
            "weights are in the checkpoint, leave the option out"
        )
    return replace(experiment, encoder=replace(experiment.encoder, weights=weights))


def build_normalizer(experiment: Experiment, store: EpisodeStore) -> Normalizer:
    """Return the statistics of all but held-out data, or nothing where `data.normalize` is off.

    Those of recordings say what the actions are, and the form in which the model takes them.
    """
    seen, _ = hold_out(len(store), num_held_out=experiment.data.held_out)
    statistics = store.normalizer(num_episodes=len(seen))
    if experiment.env == RECORDINGS:
        statistics = with_forms(
            statistics,
            store,
            asked=experiment.data.actions,
            num_episodes=len(seen),
            frameskip=experiment.data.frameskip,
        )
    return statistics if experiment.data.normalize else statistics.identity()


def build_windows(
    experiment: Experiment, store: EpisodeStore, *, features: FeatureStore | None = None
) -> tuple[Windows, Windows | None]:
    """Cut a store into training and validation windows, split by episode; see `Windows`.

    With a `data.train_fraction` of 1 there is no validation: the second is None.
    """
    data = experiment.data
    seen, _ = hold_out(len(store), num_held_out=data.held_out)
    parts = split_episodes(len(seen), train_fraction=data.train_fraction, seed=data.split_seed)
    if len(parts[0]) == 0:
        raise UserError(
            f"data.held_out = {data.held_out} and data.train_fraction = {data.train_fraction:g} leave "
            f"none of {len(store)} episodes for training; set aside less{too_few(len(store))}"
        )
    normalizer = build_normalizer(experiment, store)
    if normalizer.commands is not None:
        _LOG.info("columns of the actions: %s", normalizer.commands.in_words())
    cut = partial(
        Windows,
        store,
        features=features,
        num_steps=data.num_steps,
        frameskip=data.frameskip,
        normalizer=normalizer,
    )
    if len(parts[1]) == 0:
        _LOG.warning("all episodes are for training, as data.train_fraction = 1: no validation")
        return cut(episodes=parts[0]), None
    return cut(episodes=parts[0]), cut(episodes=parts[1])


def build_world_model(
    encoder: Encoder,
    predictor: PredictorConfig,
    *,
    proprio: ProprioConfig,
    action_dim: int,
    proprio_dim: int,
    with_step_distance: bool = False,
    image_size: int | None = None,
) -> JEPAWorldModel:
    """Build the predictor and the proprio encoder that fit an encoder, with random weights.

    Args:
        encoder: encoder of images, a module; learned or frozen.
        predictor: predictor of latents.
        proprio: how proprioception enters.
        action_dim: width `A` of an action block (frameskip x environment action).
        proprio_dim: width `P` of the proprioception; 0 if the environment has none.
        with_step_distance: add a head that learns how many blocks separate two latents.
        image_size: side in pixels of the frames that it learns from; None: not known.
    """
    if proprio.mode != "none" and proprio_dim == 0:
        raise UserError(
            f"proprio.mode = {proprio.mode!r} but the data has no proprioception; use none"
        )
    network = Predictor(
        predictor, proprio, latent_dim=encoder.dim, grid=encoder.grid, action_dim=action_dim
    )
    code = proprio.dim if proprio.mode == "feature" else network.layout.width
    proprio_encoder = None
    if proprio.mode != "none":
        proprio_encoder = ProprioEncoder(proprio_dim, code, limit=proprio.limit)
    head = StepDistanceHead(latent_dim=encoder.dim) if with_step_distance else None
    return JEPAWorldModel(
        encoder,
        network,
        proprio_encoder=proprio_encoder,
        step_distance=head,
        image_size=image_size,
    )


def _around(
    encoder: Encoder,
    experiment: Experiment,
    widths: tuple[int, int],
    *,
    image_size: int | None = None,
) -> JEPAWorldModel:
    """Build the world model around its encoder, for actions and proprioception of these widths."""
    return build_world_model(
        encoder,
        experiment.predictor,
        proprio=experiment.proprio,
        action_dim=experiment.data.frameskip * widths[0],
        proprio_dim=widths[1],
        with_step_distance=experiment.loss.step_distance_weight > 0,
        image_size=image_size,
    )


def _build_encoder(experiment: Experiment) -> Encoder:
    """Build the encoder; of several cameras each has one of its own."""
    names, config = experiment.data.cameras, experiment.encoder
    if len(names) < 2:
        return _checked_encoder(config)
    return ViewsEncoder({name: _checked_encoder(config) for name in names})


def _checked_encoder(config: BuildsEncoder) -> Encoder:
    """Build an encoder and check what the predictor needs of it: it may be the user's own."""
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
