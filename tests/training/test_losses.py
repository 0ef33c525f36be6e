"""The prediction loss with toy models whose errors are known numbers; the sum of all terms."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jepawm.build import build_world_model
from jepawm.errors import UserError
from jepawm.models.encoders import EncoderConfig, build_encoder
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.training.losses import LossConfig, draw_prefixes, latent_distance, prediction_loss
from jepawm.training.regularizers import sigreg, step_distance_loss, vicreg
from jepawm.types import Latent

SURPRISES = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def toy_model(predict: Callable[[Latent, Tensor], Latent], *, window: int = 8) -> JEPAWorldModel:
    model = build_world_model(
        build_encoder(EncoderConfig(dim=1, image_size=16)),
        PredictorConfig(window=window, depth=1, num_heads=1, visual_dim=8),
        proprio=ProprioConfig(),
        action_dim=1,
        proprio_dim=0,
    )
    model.predict = predict
    return model


def add_action(latents: Latent, actions: Tensor) -> Latent:
    return Latent(tokens=latents.tokens + actions.unsqueeze(-2))


def trajectory(num_actions: int) -> tuple[Latent, Tensor]:
    """Latents of width 1 that move by the action and a surprise of 1, 2, 3, ..."""
    actions = torch.randn(2, num_actions, 1, generator=torch.Generator().manual_seed(0))
    moves = actions + torch.tensor(SURPRISES[:num_actions])[:, None]
    latents = torch.cat([torch.zeros(2, 1, 1), moves.cumsum(1)], dim=1)
    return Latent(tokens=latents.unsqueeze(-2)), actions


def loss_of(num_actions: int, *, prefix: int | list[int] = 0, window: int = 8, **fields):
    model = toy_model(add_action, window=window)
    config = LossConfig(**fields)
    latents, actions = trajectory(num_actions)
    return prediction_loss(
        model,
        latents,
        actions=actions,
        config=config,
        prefixes=[prefix] if isinstance(prefix, int) else prefix,
    )


@pytest.mark.parametrize(
    ("num_steps", "prefix", "steps"),
    [
        (1, 0, []),
        (2, 0, [9]),
        (2, 3, [81]),
        (3, 0, [9, 36]),
        (3, 1, [25, 81]),
        (6, 0, [9, 36, 100, 225, 441]),
    ],
)
def test_weights_of_the_reference(num_steps, prefix, steps):
    """K = 1: L/2; K = 2: L/3 + L2/2; K = 3: L/4 + (L2 + L3)/3; K = 6: L/7 + sum/6."""
    loss = loss_of(6, prefix=prefix, rollout_steps=num_steps)
    teacher = 91 / 6  # mean of 1, 4, ..., 36
    torch.testing.assert_close(loss.teacher_forcing.item(), teacher, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        loss.steps, torch.tensor(steps, dtype=torch.float32), rtol=1e-5, atol=0
    )
    expected = teacher / (num_steps + 1) + sum(steps) / num_steps
    torch.testing.assert_close(loss.total.item(), expected, rtol=1e-5, atol=0)


def test_a_perfect_model_has_no_loss():
    latents, actions = trajectory(4)
    perfect = Latent(tokens=torch.cat([torch.zeros(2, 1, 1), actions.cumsum(1)], 1).unsqueeze(-2))
    loss = prediction_loss(
        toy_model(add_action),
        perfect,
        actions=actions,
        config=LossConfig(rollout_steps=3),
        prefixes=[1],
    )
    assert loss.total.item() < 1e-10
    assert latents.batch_shape == (2, 5)


def test_trajectories_longer_than_the_window_are_cut_into_windows():
    """Five surprises, window 3: windows hold 1 2 3, 2 3 4 and 3 4 5."""
    loss = loss_of(5, window=3, rollout_steps=1)
    expected = (1 + 4 + 9 + 4 + 9 + 16 + 9 + 16 + 25) / 9
    torch.testing.assert_close(loss.teacher_forcing.item(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("window", "rollout_window", "lengths"), [(3, None, 3), (8, 2, 2)])
def test_rollout_starts_from_the_prediction_with_the_longest_context(
    window, rollout_window, lengths
):
    """The toy predicts the sum of what it sees, so that its answers tell the context."""
    seen: list[int] = []

    def cumulate(latents: Latent, actions: Tensor) -> Latent:
        assert latents.batch_shape == actions.shape[:2]
        seen.append(actions.shape[1])
        return Latent(tokens=latents.tokens.cumsum(1))

    latents = Latent(tokens=torch.tensor([[1.0, 2, 4, 8, 16, 0, 0]]).view(1, 7, 1, 1))
    config = LossConfig(rollout_steps=3, rollout_window=rollout_window)
    loss = prediction_loss(
        toy_model(cumulate, window=window),
        latents,
        actions=torch.zeros(1, 6, 1),
        config=config,
        prefixes=[3],
    )
    first = 14.0 if window == 3 else 15.0  # the prediction of time 4 from times up to 3
    second = 4 + 8 + first if lengths == 3 else 8 + first
    third = 8 + first + second if lengths == 3 else first + second
    expected = torch.tensor([second**2, third**2])  # the targets are zero
    torch.testing.assert_close(loss.steps, expected)
    assert seen[1:] == [lengths, lengths]


def gradients(**fields) -> list[float]:
    """Return the gradients of the loss at z0, z1, z2 and at the factor on latents."""
    factor = torch.ones((), requires_grad=True)
    z = torch.tensor([1.0, 3.0, 10.0], requires_grad=True)  # errors -2 and -7, after two steps -9

    def predict(latents: Latent, actions: Tensor) -> Latent:
        return Latent(tokens=factor * latents.tokens)

    loss = prediction_loss(
        toy_model(predict),
        Latent(tokens=z.view(1, 3, 1, 1)),
        actions=torch.zeros(1, 2, 1),
        config=LossConfig(rollout_steps=2, **fields),
        prefixes=[0],
    )
    torch.testing.assert_close(loss.total.item(), (4 + 49) / 2 / 3 + 81 / 2, rtol=1e-5, atol=0)
    dz, dfactor = torch.autograd.grad(loss.total, [z, factor])
    return [*dz.tolist(), dfactor.item()]


@pytest.mark.parametrize(
    ("target", "rollout", "expected"),
    [
        # teacher forcing / 3: 2 e / 2 / 3 at inputs, minus that at targets; rollout / 2: 2 e / 2
        ("none", "last", [-2 / 3, -7 / 3, 0.0, -2 / 3 - 7 - 9]),
        ("teacher_forcing", "last", [-2 / 3, 2 / 3 - 7 / 3, 7 / 3, -2 / 3 - 7 - 9]),
        ("all", "last", [-2 / 3, 2 / 3 - 7 / 3, 7 / 3 + 9, -2 / 3 - 7 - 9]),
        ("none", "all", [-2 / 3 - 9, -7 / 3, 0.0, -2 / 3 - 7 - 18]),
    ],
)
def test_gradients_flow_where_the_options_let_them(target, rollout, expected):
    found = gradients(target_gradient=target, rollout_gradient=rollout)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_metrics_by_hand():
    predicted, target = torch.tensor([[0.5, 2.0]]), torch.zeros(1, 2)
    assert latent_distance(predicted, target, metric="mse").item() == 4.25 / 2
    assert latent_distance(predicted, target, metric="l1").item() == 1.25
    assert latent_distance(predicted, target, metric="smooth_l1").item() == (0.125 + 1.5) / 2
    cosine = latent_distance(
        torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[4.0, 3.0], [5.0, 0.0]]), metric="cos"
    )
    torch.testing.assert_close(cosine.item(), -(24 / 25 + 0) / 2, rtol=1e-5, atol=0)


@pytest.mark.parametrize("metric", ["mse", "l1", "smooth_l1", "cos"])
def test_metric_is_used_for_every_term(metric):
    loss = loss_of(3, rollout_steps=2, metric=metric)
    latents, _ = trajectory(3)
    target = latents.tokens[:, 2, :, 0]  # after two steps the toy is 3 behind
    expected = latent_distance(target - 3, target, metric=metric)
    torch.testing.assert_close(loss.steps[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("proprio", "weight"), [(True, 1.0), (True, 0.5), (False, 1.0)])
def test_proprio_codes_are_added(proprio, weight):
    latents, actions = trajectory(3)

    def predict(latents: Latent, actions: Tensor) -> Latent:
        assert latents.proprio is not None
        return Latent(tokens=latents.tokens + actions.unsqueeze(-2), proprio=latents.proprio + 2)

    both = Latent(tokens=latents.tokens, proprio=torch.zeros(2, 4, 1, 5))
    config = LossConfig(rollout_steps=2, proprio=proprio, proprio_weight=weight)
    loss = prediction_loss(toy_model(predict), both, actions=actions, config=config, prefixes=[0])
    expected = [14 / 3 + 4 * proprio * weight, 9.0 + 16 * proprio * weight]
    torch.testing.assert_close(
        [loss.teacher_forcing.item(), loss.steps[0].item()], expected, rtol=1e-5, atol=0
    )


def test_prefixes_cover_zero_to_t_minus_k():
    generator = torch.Generator().manual_seed(0)
    config = LossConfig(rollout_steps=3)
    drawn = [draw_prefixes(config, 6, generator=generator) for _ in range(100)]
    assert {prefix for (prefix,) in drawn} == {0, 1, 2, 3}
    first = LossConfig(rollout_steps=3, rollout_prefix="first")
    assert all(draw_prefixes(first, 6, generator=generator) == [0] for _ in range(20))
    every = LossConfig(rollout_steps=3, rollout_prefix="all")
    assert draw_prefixes(every, 6, generator=generator) == [0, 1, 2, 3]
    assert draw_prefixes(LossConfig(rollout_steps=6), 6, generator=generator) == [0]


def test_losses_of_all_prefixes_are_averaged():
    loss = loss_of(3, prefix=[0, 1], rollout_steps=2)
    torch.testing.assert_close(loss.steps, torch.tensor([(9.0 + 25.0) / 2]))


@pytest.mark.parametrize(("source", "seen"), [("predicted", 2.0), ("true", 7.0)])
def test_rollouts_see_predicted_or_true_proprio(source, seen):
    """The toy adds 2 to the proprio; the data hold 7 from time 1 on, and tokens copy the proprio."""

    def predict(latents: Latent, actions: Tensor) -> Latent:
        assert latents.proprio is not None
        return Latent(tokens=latents.proprio, proprio=latents.proprio + 2)

    proprio = torch.tensor([0.0, 7.0, 7.0]).view(1, 3, 1, 1)
    loss = prediction_loss(
        toy_model(predict),
        Latent(tokens=torch.zeros(1, 3, 1, 1), proprio=proprio),
        actions=torch.zeros(1, 2, 1),
        config=LossConfig(rollout_steps=2, rollout_proprio=source, proprio=False),
        prefixes=[0],
    )
    torch.testing.assert_close(loss.steps, torch.tensor([seen**2]))


def test_too_short_windows_and_wrong_counts_are_refused():
    with pytest.raises(UserError, match=r"rollout_steps = 4 needs .* data\.num_steps is 3"):
        draw_prefixes(LossConfig(rollout_steps=4), 3, generator=torch.Generator())
    with pytest.raises(UserError, match=r"loss\.rollout_steps = 0"):
        LossConfig(rollout_steps=0)
    with pytest.raises(UserError, match=r"loss\.num_directions = 0"):
        LossConfig(num_directions=0)


@pytest.mark.parametrize(("target", "expected"), [("all", 0.0), ("teacher_forcing", 2 / 3)])
def test_with_all_gradients_targets_of_proprio_codes_stay_detached(target, expected):
    code = torch.tensor([0.0, 1.0], requires_grad=True)
    latents = Latent(tokens=torch.zeros(1, 2, 1, 1), proprio=code.view(1, 2, 1, 1))
    loss = prediction_loss(
        toy_model(lambda seen, _: seen.map(lambda x: x.detach())),
        latents,
        actions=torch.zeros(1, 1, 1),
        config=LossConfig(rollout_steps=1, target_gradient=target),
        prefixes=[0],
    )
    (gradient,) = torch.autograd.grad(loss.total + 0 * code.sum(), code)
    torch.testing.assert_close(gradient[1].item(), expected * 3 / 2, rtol=1e-5, atol=0)


def terms_of(make_state, experiment, windows, **loss):
    state = make_state(replace(experiment, loss=LossConfig(target_gradient="all", **loss)))
    batch = windows[0].batch(torch.arange(0, 160, 10))
    terms = state.learner(batch, generator=torch.Generator().manual_seed(3))
    return terms, state.learner, batch


def test_terms_are_weighted(make_state, tiny_experiment, windows):
    terms, learner, batch = terms_of(
        make_state,
        tiny_experiment,
        windows,
        regularizer="vicreg",
        regularizer_weight=0.3,
        covariance_weight=2.0,
        temporal_weight=0.7,
        inverse_dynamics_weight=0.2,
    )
    assert set(terms) == {
        "loss",
        "prediction",
        "rollout",
        "vicreg",
        "temporal",
        "inverse_dynamics",
    }
    expected = terms["prediction"] / 3 + terms["rollout"] / 2
    expected = expected + 0.3 * terms["vicreg"] + 0.7 * terms["temporal"]
    torch.testing.assert_close(terms["loss"], expected + 0.2 * terms["inverse_dynamics"])
    tokens = learner.model.encode(batch.obs).tokens  # [B, T+1, 1, D]
    torch.testing.assert_close(terms["temporal"], tokens.diff(dim=1).square().mean())
    groups = torch.stack(list(tokens[:, :, 0].unbind(1)))  # one group for each time
    torch.testing.assert_close(terms["vicreg"], vicreg(groups, covariance_weight=2.0))


def test_sigreg_sees_each_time_by_itself(make_state, tiny_experiment, windows):
    terms, learner, batch = terms_of(
        make_state,
        tiny_experiment,
        windows,
        regularizer="sigreg",
        num_directions=5,
        rollout_prefix="first",
    )
    groups = learner.model.encode(batch.obs).tokens[:, :, 0].transpose(0, 1)
    expected = sigreg(groups, num_directions=5, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(terms["sigreg"], expected)


def test_terms_without_weight_are_absent(make_state, tiny_experiment, windows):
    terms, learner, _ = terms_of(make_state, tiny_experiment, windows, rollout_steps=1)
    assert set(terms) == {"loss", "prediction"}
    assert learner.inverse_dynamics is None
    torch.testing.assert_close(terms["loss"], terms["prediction"] / 2)


@pytest.mark.parametrize(
    "change",
    [
        {"rollout_steps": 3},
        {"rollout_window": 1, "rollout_steps": 3},
        {"rollout_prefix": "first", "rollout_steps": 1},
        {"metric": "l1"},
        {"regularizer": "sigreg"},
        {"temporal_weight": 1.0},
        {"inverse_dynamics_weight": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_options_change_the_loss(make_state, tiny_experiment, windows, change):
    base, _, _ = terms_of(make_state, tiny_experiment, windows)
    changed, _, _ = terms_of(make_state, tiny_experiment, windows, **change)
    assert base["loss"].item() != changed["loss"].item()


def test_what_helps_planning_is_added_where_it_is_weighted(make_state, tiny_experiment, windows):
    terms, learner, batch = terms_of(
        make_state,
        tiny_experiment,
        windows,
        step_distance_weight=0.6,
    )
    latents = learner.model.encode(batch.obs)
    head = learner.model.step_distance
    torch.testing.assert_close(terms["step_distance"], step_distance_loss(head, latents))
    expected = terms["prediction"] / 3 + terms["rollout"] / 2
    expected = expected + 0.6 * terms["step_distance"]
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].backward()
    assert head.count[0].weight.grad is not None


@pytest.mark.parametrize("learned", [True, False])
def test_codes_of_the_proprioception_learn_only_where_they_may(
    make_state, tiny_experiment, windows, learned
):
    experiment = replace(tiny_experiment, proprio=ProprioConfig(mode="feature", dim=4))
    terms, learner, _ = terms_of(make_state, experiment, windows, proprio_gradient=learned)
    terms["loss"].backward()
    weight = learner.model.proprio_encoder.proj.weight
    assert (weight.grad is not None) == learned
    assert learner.model.predictor.action_encoder.weight.grad is not None
