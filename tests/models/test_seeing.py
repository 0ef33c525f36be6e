from dataclasses import replace

import pytest
import torch

from jepawm.build import build_model
from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.errors import UserError
from jepawm.models.encoders import EncoderConfig
from jepawm.models.seeing import see_some, seeing
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.objectives import LatentDistance
from jepawm.recipes.wall import WALL
from jepawm.types import Context, Observation

SIDE = 32


def model_of(*cameras: str, positions: str = "rope") -> JEPAWorldModel:
    experiment = replace(
        WALL,
        data=replace(WALL.data, cameras=cameras, image_size=SIDE),
        encoder=EncoderConfig(dim=8, grid=2, image_size=SIDE),
        predictor=replace(
            WALL.predictor,
            depth=2,
            num_heads=2,
            visual_dim=32,
            positions=positions,
            output_scale=1.0,
        ),
    )
    return build_model(experiment, action_dim=2, proprio_dim=0, image_size=SIDE).eval()


def pictures(count: int, views: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, views * SIDE, SIDE), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_tokens_keep_their_places_when_others_are_not_seen(positions: str):
    model = model_of("front", "wrist", "top", positions=positions)
    part = seeing(model, ["top", "front"])
    whole, some = (one.predictor.positions(2, torch.device("cpu")) for one in (model, part))
    kept = [0, 1, 2, 3, 8, 9, 10, 11]
    if positions == "sincos":
        assert whole[0] is not None
        torch.testing.assert_close(some[0], whole[0][:, kept])
    else:
        assert whole[1] is not None
        assert some[1] is not None
        for found, expected in zip(some[1], whole[1], strict=True):
            torch.testing.assert_close(found, expected[:, kept])


def test_some_cameras_are_encoded_as_with_all_of_them():
    model = model_of("front", "wrist")
    part, pixels = seeing(model, ["wrist"]), pictures(2, 2)
    assert part.num_views == 1
    expected = model.encode(Observation(pixels=pixels)).tokens[:, 4:]
    found = part.encode(Observation(pixels=pixels[:, :, SIDE:])).tokens
    torch.testing.assert_close(found, expected)
    assert seeing(model, ["wrist", "front"]) is model
    weights = dict(model.named_parameters())
    assert all(any(one is other for other in weights.values()) for one in part.parameters())


def test_plans_are_scored_as_rolled_out_with_some_cameras():
    part = seeing(model_of("front", "wrist"), ["front"])
    latents = part.encode(Observation(pixels=pictures(2, 1)))[:, None]
    draw = torch.Generator().manual_seed(0)
    actions = torch.randn(2, 3, 2, 10, generator=draw)
    context = Context(latents=latents, actions=torch.zeros(2, 0, 10))
    goal, objective = part.encode(Observation(pixels=pictures(4, 1)[2:])), LatentDistance()
    engine = RolloutEngine(part, context, window=2, config=EngineConfig())
    with torch.no_grad():
        costs = engine.cost(actions, objective=objective, goal=goal)
        for at in range(3):
            rolled = part.rollout(context, actions[:, at], window=2)
            expected = objective(
                rolled.map(lambda one: one[:, None]), goal, actions[:, at : at + 1]
            )
            torch.testing.assert_close(costs[:, at : at + 1], expected, rtol=1e-4, atol=1e-5)


def test_cameras_are_hidden_as_often_as_asked():
    model = model_of("front", "wrist", "top")
    latents, draw = (
        model.encode(Observation(pixels=pictures(1, 3))),
        torch.Generator().manual_seed(0),
    )
    counts = []
    for _ in range(200):
        part, seen = see_some(model, latents, part=0.5, generator=draw)
        assert seen.tokens.shape[-2] == 4 * part.num_views
        counts.append(part.num_views)
    assert set(counts) == {1, 2, 3}
    assert 0.35 < sum(count < 3 for count in counts) / 200 < 0.65


def test_wrong_names_list_the_right_ones():
    with pytest.raises(UserError, match="has no camera 'side'; choose among: front, wrist"):
        seeing(model_of("front", "wrist"), ["side"])
    with pytest.raises(UserError, match="learned from one camera"):
        seeing(model_of(), ["front"])
