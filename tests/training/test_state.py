"""The state of training goes to tensors and back without loss."""

from dataclasses import replace

import pytest
import torch

from jepawm.errors import UserError
from jepawm.experiment import AgentConfig
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.training.losses import LossConfig
from jepawm.training.state import restore_heads, restore_training, training_tensors


def step(state, windows, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(windows[0]), (8,), generator=generator)
    state.optimizer.zero_grad()
    state.learner(windows[0].batch(index), generator=generator)["loss"].backward()
    state.optimizer.step()
    state.step += 1


VARIANTS = [
    {},
    {"proprio": ProprioConfig(mode="token")},
    {"proprio": ProprioConfig(mode="token"), "loss": LossConfig(proprio_gradient=False)},
    {
        "encoder": EncoderConfig(family="vit", dim=8, image_size=16, grid=2),
        "predictor": PredictorConfig(
            window=2, depth=1, num_heads=2, conditioning="sequence", positions="learned"
        ),
    },
    {"predictor": PredictorConfig(window=1, depth=1, num_heads=2, conditioning="adaln_zero")},
    {
        "predictor": PredictorConfig(
            window=1, depth=1, num_heads=2, conditioning="feature", head_dim=8, projected=False
        ),
        "proprio": ProprioConfig(mode="feature"),
    },
]


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=["tiny", "proprio", "kept code", "vit", "zero", "feature"]
)
def test_a_restored_state_takes_the_same_next_step(make_state, tiny_experiment, windows, variant):
    experiment = replace(tiny_experiment, agent=AgentConfig(window=1), **variant)
    state, other = make_state(experiment), make_state(replace(experiment, seed=1))
    for seed in range(3):
        step(state, windows, seed)
    state.seconds = 1.5
    tensors = {name: value.clone() for name, value in training_tensors(state).items()}
    other.learner.model.load_state_dict(state.learner.model.state_dict())
    restore_heads(other.learner, tensors)
    restore_training(other, tensors)
    assert (other.step, other.seconds) == (3, 1.5)
    step(state, windows, 9)
    step(other, windows, 9)
    for name, value in state.learner.state_dict().items():
        assert torch.equal(value, other.learner.state_dict()[name]), name


def test_a_state_before_the_first_step_has_no_moments(make_state, tiny_experiment):
    state = make_state(tiny_experiment)
    tensors = training_tensors(state)
    assert not any(name.startswith("optimizer.") for name in tensors)
    restore_training(make_state(tiny_experiment), tensors)


def test_tensors_of_another_configuration_are_refused(make_state, tiny_experiment, windows):
    state = make_state(tiny_experiment)
    step(state, windows, 0)
    tensors = training_tensors(state)
    name = next(name for name in tensors if name.endswith("exp_avg"))
    del tensors[name]
    with pytest.raises(UserError, match=f"the training state lacks {name}"):
        restore_training(make_state(tiny_experiment), tensors)


def test_tensors_of_other_shapes_are_refused(make_state, tiny_experiment, windows):
    state = make_state(tiny_experiment)
    step(state, windows, 0)
    tensors = training_tensors(state)
    name = next(name for name in tensors if name.endswith("exp_avg_sq"))
    for changed in ({name: tensors[name][:1]}, {"step": torch.ones(2)}):
        with pytest.raises(UserError, match=f"has {next(iter(changed))} .*another configuration"):
            restore_training(make_state(tiny_experiment), tensors | changed)
