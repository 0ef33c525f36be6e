"""LeWorldModel's published folders come in whole and act as the published formulas say."""

import json
from math import sqrt
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from jepawm.cli import main
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.errors import UserError
from jepawm.hub.lewm import import_lewm, lewm_experiment
from jepawm.hub.load import load
from jepawm.models.class_token import ClassTokenConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.normalizer import Normalizer
from jepawm.types import Context, Observation

SMALL = {
    "encoder": {"size": "tiny", "patch_size": 4, "image_size": 16},
    "predictor": {
        "num_frames": 3, "input_dim": 24, "hidden_dim": 24, "output_dim": 24, "depth": 2,
        "heads": 2, "mlp_dim": 40, "dim_head": 8, "dropout": 0.1,
    },
    "action_encoder": {"input_dim": 10, "smoothed_dim": 6, "emb_dim": 24, "mlp_scale": 4},
    "projector": {"input_dim": 24, "hidden_dim": 32, "output_dim": 24},
    "pred_proj": {"input_dim": 24, "hidden_dim": 32, "output_dim": 24},
}  # fmt: skip
FULL = {
    "encoder": {"size": "tiny", "patch_size": 14, "image_size": 224},
    "predictor": SMALL["predictor"] | {
        "input_dim": 192, "hidden_dim": 192, "depth": 6, "heads": 16, "mlp_dim": 2048, "dim_head": 64,
    },
    "action_encoder": {"input_dim": 10, "smoothed_dim": 10, "emb_dim": 192, "mlp_scale": 4},
    "projector": {"input_dim": 192, "hidden_dim": 2048, "output_dim": 192},
    "pred_proj": {"input_dim": 192, "hidden_dim": 2048, "output_dim": 192},
}  # fmt: skip
STATISTICS = Normalizer.from_statistics(action_mean=[0.1, -0.2], action_std=[0.5, 2.0])


def both(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def layout(config: dict[str, dict], *, depth: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of `weights.pt`, written down once more."""
    patch, image = (config["encoder"][key] for key in ("patch_size", "image_size"))
    made, act = config["predictor"], config["action_encoder"]
    width, inner = made["input_dim"], made["heads"] * made["dim_head"]
    shapes = {
        "encoder.embeddings.cls_token": (1, 1, width),
        "encoder.embeddings.position_embeddings": (1, 1 + (image // patch) ** 2, width),
        **both("encoder.embeddings.patch_embeddings.projection", width, 3, patch, patch),
        **both("encoder.layernorm", width),
    }
    for i in range(depth):
        layer = f"encoder.encoder.layer.{i}"
        for name in ("query", "key", "value"):
            shapes |= both(f"{layer}.attention.attention.{name}", width, width)
        shapes |= both(f"{layer}.attention.output.dense", width, width)
        shapes |= both(f"{layer}.intermediate.dense", 4 * width, width)
        shapes |= both(f"{layer}.output.dense", width, 4 * width)
        shapes |= both(f"{layer}.layernorm_before", width) | both(f"{layer}.layernorm_after", width)
    shapes |= {"predictor.pos_embedding": (1, made["num_frames"], width)}
    shapes |= both("predictor.transformer.norm", width)
    for i in range(made["depth"]):
        layer = f"predictor.transformer.layers.{i}"
        shapes |= both(f"{layer}.attn.norm", width) | both(f"{layer}.attn.to_out.0", width, inner)
        shapes[f"{layer}.attn.to_qkv.weight"] = (3 * inner, width)
        shapes |= both(f"{layer}.mlp.net.0", width) | both(
            f"{layer}.mlp.net.1", made["mlp_dim"], width
        )
        shapes |= both(f"{layer}.mlp.net.4", width, made["mlp_dim"])
        shapes |= both(f"{layer}.adaLN_modulation.1", 6 * width, width)
    hidden = act["mlp_scale"] * act["emb_dim"]
    shapes |= both("action_encoder.patch_embed", act["smoothed_dim"], act["input_dim"], 1)
    shapes |= both("action_encoder.embed.0", hidden, act["smoothed_dim"])
    shapes |= both("action_encoder.embed.2", act["emb_dim"], hidden)
    for name in ("projector", "pred_proj"):
        size = config[name]["hidden_dim"]
        shapes |= both(f"{name}.net.0", size, width) | both(f"{name}.net.1", size)
        shapes |= {f"{name}.net.1.running_mean": (size,), f"{name}.net.1.running_var": (size,)}
        shapes |= {f"{name}.net.1.num_batches_tracked": ()}
        shapes |= both(f"{name}.net.3", width, size)
    return shapes


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = {k: 0.3 * torch.randn(shape, generator=generator) for k, shape in shapes.items()}
    for name, value in weights.items():
        if name.endswith("running_var"):
            weights[name] = value.abs() + 0.5
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
    return weights


class Published:
    """The forward pass by the published formulas, plainly."""

    def __init__(self, weights: dict[str, Tensor], config: dict[str, dict], *, depth: int) -> None:
        self.w, self.depth = weights, depth
        self.patch = config["encoder"]["patch_size"]
        self.made = config["predictor"]

    def linear(self, x: Tensor, name: str) -> Tensor:
        bias = self.w.get(f"{name}.bias")
        return F.linear(x, self.w[f"{name}.weight"].flatten(1), bias)

    def norm(self, x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    def mlp(self, x: Tensor, name: str) -> Tensor:
        """Affine, batch norm by running statistics, GELU, affine."""
        h = self.linear(x, f"{name}.net.0")
        n = f"{name}.net.1"
        h = (h - self.w[f"{n}.running_mean"]) / torch.sqrt(self.w[f"{n}.running_var"] + 1e-5)
        return self.linear(F.gelu(h * self.w[f"{n}.weight"] + self.w[f"{n}.bias"]), f"{name}.net.3")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool) -> Tensor:
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(-2, -3) for x in (q, k, v))
        scores = q @ k.transpose(-1, -2) / sqrt(q.shape[-1])
        if causal:
            later = torch.ones(scores.shape[-2:]).triu(1).bool()
            scores = scores.masked_fill(later, -torch.inf)
        return (scores.softmax(-1) @ v).transpose(-2, -3).flatten(-2)

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode uint8 frames `[n, 3, S, S]` to `[n, D]`."""
        mean, std = (
            torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        images = (pixels.float() / 255 - mean) / std
        side = images.shape[-1] // self.patch
        cut = images.unflatten(3, (side, -1)).unflatten(2, (side, -1))  # [n, 3, side, p, side, p]
        patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        x = self.linear(patches, "encoder.embeddings.patch_embeddings.projection")
        first = self.w["encoder.embeddings.cls_token"].expand(len(x), -1, -1)
        x = torch.cat([first, x], 1) + self.w["encoder.embeddings.position_embeddings"]
        for i in range(self.depth):
            layer = f"encoder.encoder.layer.{i}"
            h = self.norm(x, f"{layer}.layernorm_before", 1e-12)
            qkv = (
                self.linear(h, f"{layer}.attention.attention.{n}")
                for n in ("query", "key", "value")
            )
            x = x + self.linear(
                self.attend(*qkv, 3, causal=False), f"{layer}.attention.output.dense"
            )
            h = self.norm(x, f"{layer}.layernorm_after", 1e-12)
            h = F.gelu(self.linear(h, f"{layer}.intermediate.dense"))
            x = x + self.linear(h, f"{layer}.output.dense")
        return self.mlp(self.norm(x, "encoder.layernorm", 1e-12)[:, 0], "projector")

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict `[B, T, D]` from latents `[B, T, D]` and action blocks `[B, T, A]`."""
        act = self.linear(actions, "action_encoder.patch_embed")
        act = self.linear(
            F.silu(self.linear(act, "action_encoder.embed.0")), "action_encoder.embed.2"
        )
        x = latents + self.w["predictor.pos_embedding"][:, : latents.shape[1]]
        for i in range(self.made["depth"]):
            layer = f"predictor.transformer.layers.{i}"
            codes = self.linear(F.silu(act), f"{layer}.adaLN_modulation.1").chunk(6, -1)
            h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + codes[1]) + codes[0]
            qkv = self.linear(self.norm(h, f"{layer}.attn.norm"), f"{layer}.attn.to_qkv").chunk(
                3, -1
            )
            found = self.attend(*qkv, self.made["heads"], causal=True)
            x = x + codes[2] * self.linear(found, f"{layer}.attn.to_out.0")
            h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + codes[4]) + codes[3]
            h = F.gelu(self.linear(self.norm(h, f"{layer}.mlp.net.0"), f"{layer}.mlp.net.1"))
            x = x + codes[5] * self.linear(h, f"{layer}.mlp.net.4")
        return self.mlp(self.norm(x, "predictor.transformer.norm"), "pred_proj")

    def rollout(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Roll `[B, 1, D]` out under `[B, H, A]`; each prediction sees the last frames."""
        frames = self.made["num_frames"]
        for t in range(actions.shape[1]):
            seen = latents[:, -frames:]
            predicted = self.predict(seen, actions[:, : t + 1][:, -frames:])[:, -1:]
            latents = torch.cat([latents, predicted], 1)
        return latents[:, 1:]


def write(folder: Path, weights: dict[str, Tensor], config: dict[str, dict] = SMALL) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(weights, folder / "weights.pt")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "lewm", random_weights(layout(SMALL, depth=2)))


@pytest.mark.slow
def test_the_published_model_has_303_tensors_and_all_of_them_come_in(tmp_path: Path):
    shapes = layout(FULL, depth=12)
    assert len(shapes) == 303
    weights = {k: torch.zeros(shape) for k, shape in shapes.items()}
    imported = import_lewm(
        write(tmp_path / "x", weights, FULL), env="recordings", normalizer=STATISTICS, frameskip=5
    )
    assert imported.experiment.encoder == ClassTokenConfig()
    assert imported.experiment.predictor.num_heads == 16
    assert round(sum(v.numel() for v in weights.values()) / 1e6) == 18


@pytest.mark.parametrize("fast", [False, True])
def test_the_forward_pass_is_that_of_the_published_formulas(
    folder: Path, tmp_path: Path, fast: bool
):
    statistics = tmp_path / "statistics.json"
    statistics.write_text(json.dumps(STATISTICS.to_json()))
    out = tmp_path / "out"
    arguments = ["import", "lewm", str(folder), "--out", str(out), "--statistics", str(statistics)]
    assert main(arguments) == 0
    loaded = load(out)
    published = Published(torch.load(folder / "weights.pt"), SMALL, depth=2)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=generator)
    actions = torch.randn(2, 5, 10, generator=generator)
    with torch.no_grad():
        latents = loaded.model.encode(Observation(pixels=pixels, proprio=None))
        expected = published.encode(pixels)
        torch.testing.assert_close(latents.tokens[:, 0], expected, atol=1e-5, rtol=1e-5)
        context = Context(latents=latents.map(lambda x: x[:, None]), actions=actions[:, :0])
        if fast:
            engine = RolloutEngine(loaded.model, context)
            found = engine.latents(actions[:, None]).map(lambda x: x[:, 0])
        else:
            found = loaded.model.rollout(context, actions)
        true = published.rollout(expected[:, None], actions)
    torch.testing.assert_close(found.tokens[:, :, 0], true, atol=1e-5, rtol=1e-5)


def test_the_names_of_newer_transformers_are_the_same(folder: Path, tmp_path: Path):
    weights = torch.load(folder / "weights.pt")
    news = {
        "encoder.encoder.layer.": "encoder.layers.", "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj", "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj", "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }  # fmt: skip
    renamed = {}
    for name, value in weights.items():
        for old, new in news.items():
            name = name.replace(old, new)  # noqa: PLW2901
        renamed[f"model.{name}"] = value
    other = write(tmp_path / "new", {"state_dict": renamed, "epoch": 3})  # type: ignore[dict-item]
    found = [
        import_lewm(one, env="recordings", normalizer=STATISTICS, frameskip=5).weights
        for one in (folder, other)
    ]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[1][name], value) for name, value in found[0].items())


def test_an_imported_model_plans(folder: Path, tmp_path: Path):
    imported = import_lewm(folder, env="recordings", normalizer=STATISTICS, frameskip=5)
    from jepawm.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "run" / "checkpoint", imported.checkpoint())
    loaded = load(tmp_path / "run")
    assert loaded.experiment.protocol("lewm").success == "any"
    planner = type(loaded.experiment.planner)(num_samples=8, num_elites=2, num_iterations=2)
    agent = loaded.agent(protocol="lewm", planner=planner)
    pixels = torch.zeros(3, 3, 16, 16, dtype=torch.uint8)
    agent.reset(Observation(pixels=pixels + 200, proprio=None))
    action = agent.act(Observation(pixels=pixels, proprio=None))
    assert action.shape == (3, 10)
    assert action.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w, c: w.pop("pred_proj.net.1.running_var"), r"missing pred_proj\.net\.1\.running_var"),
        (lambda w, c: w.update(extra=torch.ones(1)), "unexpected extra"),
        (lambda w, c: w.pop("predictor.pos_embedding"), "predictor.pos_embedding is missing"),
        (lambda w, c: w.update({"projector.net.0.bias": torch.full((32,), torch.nan)}), "NaN"),
        (lambda w, c: c["predictor"].update(depth=3), r"says predictor\.depth = 3, and the weights"),
        (lambda w, c: c["encoder"].update(patch_size=8), "patch_size = 8, and the weights have 4"),
    ],
)  # fmt: skip
def test_what_almost_fits_is_refused_with_what_is_wrong(tmp_path: Path, change, message: str):
    weights = random_weights(layout(SMALL, depth=2))
    config = json.loads(json.dumps(SMALL))
    change(weights, config)
    folder = write(tmp_path / "x", weights, config)
    with pytest.raises(UserError, match=message):
        import_lewm(folder, env="recordings", normalizer=STATISTICS, frameskip=5)


def test_what_the_files_lack_is_asked_for(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="no statistics of its actions; give --statistics"):
        import_lewm(folder, env="recordings", normalizer=None, frameskip=5)
    wide = Normalizer.from_statistics(action_mean=[0.0] * 3, action_std=[1.0] * 3)
    with pytest.raises(UserError, match="actions of 3 numbers, and blocks of 5 steps have 2 each"):
        import_lewm(folder, env="recordings", normalizer=wide, frameskip=5)
    with pytest.raises(
        UserError, match="blocks of 10 numbers, which --frameskip 3 does not divide"
    ):
        import_lewm(folder, env="recordings", normalizer=STATISTICS, frameskip=3)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is missing"):
        import_lewm(folder, env="recordings", normalizer=STATISTICS, frameskip=5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds none of weights\.pt"):
        import_lewm(tmp_path / "empty", env="recordings", normalizer=STATISTICS, frameskip=5)


def test_the_check_of_weights_knows_it(folder: Path, capsys):
    assert main(["check", "weights", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["models"], found["tensors"]) == (["lewm"], len(layout(SMALL, depth=2)))
    assert found["plans"].startswith("yes: ")


def test_its_parts_can_be_trained(tmp_path: Path):
    """The configuration is one of this library: gradients reach every weight."""
    from jepawm.build import build_model

    encoder = ClassTokenConfig(
        dim=8, width=8, depth=1, num_heads=2, patch_size=8, image_size=16, projector_dim=8
    )
    predictor = PredictorConfig(
        conditioning="adaln_zero", positions="learned", depth=1, num_heads=2, head_dim=4,
        hidden_dim=8, projected=False, inner_norm=True, action_hidden=8, projector_dim=8,
    )  # fmt: skip
    experiment = lewm_experiment(encoder, predictor, env="recordings", frameskip=5)
    model = build_model(experiment, action_dim=2, proprio_dim=0).train()
    torch.nn.init.normal_(model.predictor.blocks[0].modulation.weight)  # zero at the start
    pixels = torch.randint(0, 256, (4, 3, 3, 16, 16), dtype=torch.uint8)
    latents = model.encode(Observation(pixels=pixels, proprio=None))
    predicted = model.predict(latents, torch.randn(4, 3, 10))
    predicted.tokens.square().sum().backward()
    missing = [name for name, one in model.named_parameters() if one.grad is None]
    assert missing == []
