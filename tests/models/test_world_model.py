"""The world model: its rollout is the loop written out by hand."""

import pytest
import torch

from jepawm.build import build_world_model
from jepawm.errors import UserError
from jepawm.models.encoders import EncoderConfig, build_encoder
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Context, Latent, Observation

ACTION, PROPRIO = 4, 2


def model_of(mode: str = "none", *, grid: int = 1, **fields) -> JEPAWorldModel:
    settings = {"window": 3, "depth": 1, "num_heads": 2, "visual_dim": 16, "head_dim": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_world_model(
            build_encoder(EncoderConfig(dim=8, grid=grid, image_size=32)),
            PredictorConfig(**(settings | fields)),
            proprio=ProprioConfig(mode=mode, dim=4),
            action_dim=ACTION,
            proprio_dim=0 if mode == "none" else PROPRIO,
        )
    generator = torch.Generator().manual_seed(1)
    for parameter in model.predictor.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def observations(*shape: int, proprio: bool, seed: int = 0) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (*shape, 3, 32, 32), generator=generator, dtype=torch.uint8)
    state = torch.randn(*shape, PROPRIO, generator=generator) if proprio else None
    return Observation(pixels=pixels, proprio=state)


def actions_of(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randn(*shape, ACTION, generator=torch.Generator().manual_seed(seed))


def context_of(model: JEPAWorldModel, length: int) -> Context:
    latents = model.encode(observations(2, length, proprio=model.proprio_encoder is not None))
    return Context(latents=latents, actions=actions_of(2, length - 1, seed=6))


def rollout_by_hand(model, context, actions, *, window):
    """Keep all latents and all actions; predict from the last `window` of each."""
    tokens = list(context.latents.tokens.unbind(1))
    codes = None if context.latents.proprio is None else list(context.latents.proprio.unbind(1))
    taken = list(context.actions.unbind(1))
    start = len(tokens)
    for action in actions.unbind(1):
        taken.append(action)
        seen = Latent(
            tokens=torch.stack(tokens[-window:], 1),
            proprio=None if codes is None else torch.stack(codes[-window:], 1),
        )
        predicted = model.predict(seen, torch.stack(taken[-len(seen.tokens[0]) :], 1))
        tokens.append(predicted.tokens[:, -1])
        if codes is not None:
            codes.append(predicted.proprio[:, -1])
    return torch.stack(tokens[start:], 1), None if codes is None else torch.stack(codes[start:], 1)


@pytest.mark.parametrize("mode", ["none", "feature", "token"])
@pytest.mark.parametrize("grid", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_rollout_equals_the_loop_written_out(mode, grid, length):
    model = model_of(mode, grid=grid)
    context, actions = context_of(model, length), actions_of(2, 5)
    rolled = model.rollout(context, actions)
    tokens, codes = rollout_by_hand(model, context, actions, window=3)
    torch.testing.assert_close(rolled.tokens, tokens, atol=1e-5, rtol=1e-5)
    if mode == "none":
        assert rolled.proprio is None
    else:
        torch.testing.assert_close(rolled.proprio, codes, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [1, 2])
def test_rollout_sees_only_the_window(window):
    model = model_of()
    context, actions = context_of(model, 4), actions_of(2, 3)
    rolled = model.rollout(context, actions, window=window)
    tokens, _ = rollout_by_hand(model, context, actions, window=window)
    torch.testing.assert_close(rolled.tokens, tokens, atol=1e-5, rtol=1e-5)
    shorter = Context(
        latents=context.latents[:, -window:],
        actions=context.actions[:, len(actions[0]) - window + 1 :],
    )
    assert shorter.actions.shape[1] == window - 1
    torch.testing.assert_close(model.rollout(shorter, actions, window=window).tokens, rolled.tokens)
    longer = model.rollout(context, actions)
    assert (longer.tokens - rolled.tokens).abs().max() > 1e-4


def test_the_model_and_its_rollout_may_have_a_window_of_one():
    model = model_of(window=1)
    context, actions = context_of(model, 1), actions_of(2, 4)
    latents = context.latents
    for step in range(4):
        latents = model.predict(latents, actions[:, step : step + 1])
    torch.testing.assert_close(model.rollout(context, actions).tokens[:, -1:], latents.tokens)


def test_detached_context_cuts_the_gradient():
    model = model_of()
    start = context_of(model, 2)
    tokens = start.latents.tokens.detach().requires_grad_()
    context, actions = (
        Context(latents=Latent(tokens=tokens), actions=start.actions),
        actions_of(2, 2),
    )
    full = model.rollout(context, actions)
    cut = model.rollout(context, actions, detach_context=True)
    assert torch.equal(full.tokens, cut.tokens)
    (gradient,) = torch.autograd.grad(full.tokens[:, -1].square().sum(), [tokens])
    assert gradient.abs().max() > 0
    inputs = [tokens, model.predictor.norm.weight]
    nothing, last_step = torch.autograd.grad(
        cut.tokens[:, -1].square().sum(), inputs, allow_unused=True
    )
    assert nothing is None
    assert last_step.abs().max() > 0


def test_candidates_are_independent():
    model = model_of()
    context, actions = context_of(model, 2), actions_of(2, 3)
    together = model.rollout(context, actions)
    alone = model.rollout(context[1:], actions[1:])
    torch.testing.assert_close(together.tokens[1:], alone.tokens, atol=1e-5, rtol=1e-5)


def test_proprio_code_lies_where_the_mode_says():
    obs = observations(2, 3, proprio=True)
    feature, token = model_of("feature", grid=2), model_of("token", grid=2)
    code = feature.encode(obs).proprio
    assert code is not None
    assert code.shape == (2, 3, 4, 4)
    assert torch.equal(code[:, :, 0], code[:, :, 3])
    state = token.encode(obs).proprio
    assert state is not None
    assert state.shape == (2, 3, 1, 16)


def test_missing_proprioception_is_refused():
    with pytest.raises(UserError, match="needs proprioception"):
        model_of("token").encode(observations(2, proprio=False))
    with pytest.raises(UserError, match=r"proprio\.mode = 'feature' but the data has no"):
        build_world_model(
            build_encoder(EncoderConfig()),
            PredictorConfig(num_heads=4),
            proprio=ProprioConfig(mode="feature"),
            action_dim=2,
            proprio_dim=0,
        )
