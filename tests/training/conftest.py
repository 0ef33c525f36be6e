"""A tiny learner and tiny windows of Wall."""

from pathlib import Path

import pytest
import torch

from jepawm.build import build_model, build_windows
from jepawm.experiment import Experiment
from jepawm.runs.datasets import find_or_collect
from jepawm.training.losses import Learner
from jepawm.training.optim import build_optimizer
from jepawm.training.state import TrainState


@pytest.fixture(scope="session")
def windows(tiny_experiment: Experiment, wall_data_root: Path):
    """Return training and validation windows."""
    store = find_or_collect("wall", tiny_experiment.data, data_root=wall_data_root)
    return build_windows(tiny_experiment, store)


@pytest.fixture
def make_state():
    """Return a function that builds the untrained state of an experiment."""

    def make(experiment: Experiment) -> TrainState:
        model = build_model(experiment, action_dim=2, proprio_dim=2)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            learner = Learner(model, experiment.loss)
        optimizer = build_optimizer(learner, experiment.optim)
        return TrainState(learner=learner, module=learner, optimizer=optimizer)

    return make
