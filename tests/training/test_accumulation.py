"""A batch in parts has the losses and gradients of the whole one, where statistics are the batch's."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from jepawm.build import build_model
from jepawm.data.augmentation import AugmentationConfig
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.models.class_token import ClassTokenConfig
from jepawm.models.encoders import EncoderConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.training.accumulation import require_batch_free
from jepawm.training.batches import Batches, Part
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.finite import FiniteCheck
from jepawm.training.losses import Learner
from jepawm.training.train import stop_encoder, take_step

GRID = EncoderConfig(dim=8, image_size=16, grid=2, reduction=8)
CASES = {
    "sigreg": {"regularizer": "sigreg", "num_directions": 16},
    "vicreg": {"regularizer": "vicreg"},
    "all terms": {
        "regularizer": "sigreg",
        "temporal_weight": 0.3,
        "step_distance_weight": 0.2,
        "inverse_dynamics_weight": 0.5,
        "target_gradient": "teacher_forcing",
    },
}
ENCODERS = {
    "no norm": EncoderConfig(dim=8, image_size=16, batch_norm=False),
    "batch norm": EncoderConfig(dim=8, image_size=16),
    "grid, centred": GRID,
    "grid, shared": replace(GRID, statistics="shared"),
    "vit": EncoderConfig(family="vit", dim=8, image_size=16, grid=2),
}


def step(state, windows, experiment: Experiment, **compute):
    """Take one step on 16 windows; returns its terms and its gradient."""
    devices = Devices(ComputeConfig(**compute), device="cpu")
    parts = [Part(seed=0, indices=part) for part in devices.parts(torch.arange(0, 80, 5))]
    with Batches(
        windows, parts, augmentation=AugmentationConfig(), device=devices.device
    ) as batches:
        state.learner.train()
        terms = take_step(
            state,
            batches,
            optim=replace(experiment.optim, clip_norm=0.0),
            devices=devices,
            check=FiniteCheck(late=False),
            seed=0,
        )
    parameters = state.learner.parameters()
    gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    return {name: value.item() for name, value in terms.items()}, gradient


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("case", CASES)
def test_parts_have_the_terms_and_gradients_of_the_whole(
    make_state, tiny_experiment, windows, case: str, encoder: str
):
    experiment = replace(
        tiny_experiment,
        encoder=ENCODERS[encoder],
        loss=replace(tiny_experiment.loss, **CASES[case]),
        proprio=ProprioConfig(mode="token"),
    )
    states = [make_state(experiment) for _ in range(3)]
    whole, expected = step(states[0], windows[0], experiment)
    terms, gradient = step(
        states[1], windows[0], experiment, accumulate=4, accumulate_statistics="batch"
    )
    _, apart = step(states[2], windows[0], experiment, accumulate=4)
    assert terms == pytest.approx(whole, rel=1e-4, abs=1e-6)
    assert distance(gradient, expected) < 1e-4
    assert distance(apart, expected) > 1e-2  # what each part by itself would give
    for name, value in states[0].learner.named_buffers():  # running statistics of the whole
        found = states[1].learner.get_buffer(name)
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-6)


def test_tokens_of_a_stopped_encoder_are_cut_too(make_state, tiny_experiment, windows):
    loss = replace(tiny_experiment.loss, step_distance_weight=0.2, inverse_dynamics_weight=0.0)
    experiment = replace(tiny_experiment, loss=loss)
    found = []
    for compute in ({}, {"accumulate": 4, "accumulate_statistics": "batch"}):
        state = make_state(experiment)
        tokens = stop_encoder(state.learner, windows[0].store, device=torch.device("cpu"))
        found.append(step(state, windows[0].with_tokens(tokens), experiment, **compute))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    assert distance(found[1][1], found[0][1]) < 1e-4


def test_dropout_of_an_encoder_is_the_same_in_both_passes(make_state, tiny_experiment, windows):
    """Half of the pixels' features are dropped: without equal masks the gradient would be another."""
    experiment = replace(tiny_experiment, encoder=ENCODERS["no norm"])
    gradients = []
    for _ in range(2):
        state = make_state(experiment)
        encoder = state.learner.model.encoder
        seen: list[torch.Tensor] = []
        encoder.backbone.append(torch.nn.Dropout(0.5))
        encoder.backbone[-1].register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(output == 0)
        )
        _, gradient = step(
            state, windows[0], experiment, accumulate=2, accumulate_statistics="batch"
        )
        gradients.append(gradient)
        assert [torch.equal(seen[k], seen[k + 2]) for k in (0, 1)] == [True, True]
        assert not torch.equal(seen[0], seen[1])
    assert torch.equal(*gradients)


def test_batch_norm_inside_a_model_is_refused(tiny_experiment):
    encoder = ClassTokenConfig(
        dim=8, width=12, depth=1, num_heads=1, patch_size=8, image_size=16, projector_dim=16
    )
    build = partial(build_model, action_dim=2, proprio_dim=2)
    experiment = replace(tiny_experiment, encoder=encoder)
    learner = Learner(build(experiment), experiment.loss)
    with pytest.raises(UserError, match=r"encoder\.projector\.norm normalises over the batch"):
        require_batch_free(learner)
    require_batch_free(Learner(build(tiny_experiment), tiny_experiment.loss))


def test_sharded_weights_are_refused():
    with pytest.raises(UserError, match=r"accumulate_statistics = batch is not there for .*fsdp2"):
        ComputeConfig(accumulate_statistics="batch", strategy="fsdp2")
