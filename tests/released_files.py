"""Files in the layouts of the released models, with random weights, for tests.

The layouts are written down here once more, from the description of the released files, so that
they check the code's own.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from jepawm.build import build_world_model
from jepawm.experiment import Experiment
from jepawm.golden.case import GoldenCase
from jepawm.golden.predictors import build_model
from jepawm.hub.imports import Imported, import_content
from jepawm.hub.released import released_experiment, released_normalizer
from jepawm.models.encoders import GivenTokens
from jepawm.models.weight_files import load_weights, read_content
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Latent

Shapes = dict[str, tuple[int, ...]]
Groups = dict[str, dict[str, Tensor]]
GRID = 16

# Family, width D of the encoder, width p of the predictor, proprio code q (-1: one token), action
# code, action block A, proprio P.
MODELS = {
    "jepa_wm_metaworld": ("AdaLN", 384, 384, 16, 0, 20, 4),
    "jepa_wm_pusht": ("AdaLN", 384, 384, 16, 0, 10, 4),
    "jepa_wm_pointmaze": ("AdaLN", 384, 384, 16, 0, 10, 4),
    "jepa_wm_wall": ("AdaLN", 384, 384, 16, 0, 10, 2),
    "jepa_wm_droid": ("AdaLN", 1024, 1024, 0, 0, 7, 7),
    "dino_wm_metaworld": ("dino_wm", 384, 384, 20, 20, 20, 4),
    "dino_wm_pusht": ("dino_wm", 384, 384, 20, 10, 10, 4),
    "dino_wm_pointmaze": ("dino_wm", 384, 384, 20, 10, 10, 4),
    "dino_wm_wall": ("dino_wm", 384, 384, 10, 10, 10, 2),
    "dino_wm_droid": ("dino_wm", 384, 384, 0, 10, 7, 7),
    "vjepa2_ac_droid": ("vjepa2_ac", 1408, 1024, 0, 0, 7, 7),
    "vjepa2_ac_oss": ("vjepa2_ac", 1408, 1024, -1, 0, 7, 7),
}
DEPTH = {"AdaLN": 6, "dino_wm": 6, "vjepa2_ac": 24}


def affine(name: str, out: int, width: int) -> Shapes:
    return {f"{name}.weight": (out, width), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def layout(model: str, *, depth: int) -> dict[str, Shapes]:
    """Return the tensors of a released file."""
    family, dim, inner, code, action_code, action, proprio = MODELS[model]
    if family == "dino_wm":
        return dino_wm_layout(
            dim + code + action_code, depth=depth, code=code, action_code=action_code,
            action=action, proprio=proprio,
        )  # fmt: skip
    width = inner + max(code, 0)
    shapes = affine("predictor_embed", inner, dim) | affine("action_encoder", width, action)
    if code < 0:
        shapes |= affine("state_encoder", inner, proprio)
        shapes |= affine("extrinsics_encoder", inner, action - 1)
    for index in range(depth):
        block = f"predictor_blocks.{index}"
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= affine(f"{block}.attn.qkv", 3 * width, width)
        shapes |= affine(f"{block}.attn.proj", width, width)
        shapes |= affine(f"{block}.mlp.fc1", 4 * width, width)
        shapes |= affine(f"{block}.mlp.fc2", width, 4 * width)
        if family == "AdaLN":
            shapes |= affine(f"{block}.adaLN_modulation.1", 6 * width, width)
    shapes |= norm("predictor_norm", width) | affine("predictor_proj", dim, inner)
    groups = {"predictor": shapes}
    if code > 0:
        groups["proprio_encoder"] = {
            "patch_embed.weight": (code, proprio, 1),
            "patch_embed.bias": (code,),
        }
    return groups


def dino_wm_layout(
    width: int, *, depth: int, code: int, action_code: int, action: int, proprio: int,
    num_tokens: int = 4 * GRID**2,
) -> dict[str, Shapes]:  # fmt: skip
    shapes: Shapes = {"pos_embedding": (1, num_tokens, width)} | norm("transformer.norm", width)
    for index in range(depth):
        attention, forward = (f"transformer.layers.{index}.{part}" for part in (0, 1))
        shapes |= norm(f"{attention}.norm", width) | affine(f"{attention}.to_out.0", width, 1024)
        shapes[f"{attention}.to_qkv.weight"] = (3072, width)
        shapes[f"{attention}.bias"] = (1, 1, 8, 8)  # the mask, whatever its size
        shapes |= norm(f"{forward}.net.0", width) | affine(f"{forward}.net.1", 2048, width)
        shapes |= affine(f"{forward}.net.4", width, 2048)
    groups = {"predictor": shapes, "action_encoder": conv(action_code, action)}
    return groups | ({"proprio_encoder": conv(code, proprio)} if code else {})


def conv(out: int, width: int) -> Shapes:
    return {"patch_embed.weight": (out, width, 1), "patch_embed.bias": (out,)}


def random_groups(shapes: dict[str, Shapes]) -> Groups:
    generator = torch.Generator().manual_seed(0)
    return {
        group: {
            name: 0.1 * torch.randn(shape, generator=generator) for name, shape in tensors.items()
        }
        for group, tensors in shapes.items()
    }


def write(path: Path, groups: Groups, *, prefix: str = "module.") -> Path:
    """Write a file as trainings do: with traces of distribution and the optimiser's state."""
    content: dict[str, object] = {
        group: {prefix + name: value for name, value in tensors.items()}
        for group, tensors in groups.items()
    }
    opt = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 5e-4}]}
    torch.save(content | {"opt": opt, "scaler": None, "epoch": 50}, path)
    return path


def take(path: Path, experiment: Experiment) -> Imported:
    return import_content(
        read_content(path), experiment, normalizer=released_normalizer(experiment.name), path=path
    )


def shallow(model: str, depth: int = 1) -> Experiment:
    experiment = released_experiment(model)
    return replace(experiment, predictor=replace(experiment.predictor, depth=depth))


def without_encoder(imported: Imported, *, dim: int, grid: int = GRID) -> JEPAWorldModel:
    experiment, normalizer = imported.experiment, imported.normalizer
    assert normalizer.proprio_mean is not None
    model = build_world_model(
        GivenTokens(dim=dim, grid=(grid, grid)),
        experiment.predictor,
        proprio=experiment.proprio,
        action_dim=experiment.data.frameskip * normalizer.action_dim,
        proprio_dim=len(normalizer.proprio_mean),
    )
    load_weights(model, imported.weights, source="test")
    return model.eval()


def direct(
    model: str, groups: Groups, *, depth: int = 1, grid: int = GRID, window: int = 4
) -> JEPAWorldModel:
    """Build the predictor that golden cases verify, with the sizes of the description."""
    family, dim, inner, code, _, action, _ = MODELS[model]
    width = inner + max(code, 0)
    hyper = {
        "family": family,
        "embed_dim": dim,
        "pred_embed_dim": inner,
        "grid": grid,
        "depth": depth,
        "num_heads": 16,
        "head_dim": 64 if family == "dino_wm" else width // 16,
        "num_frames_pred": window,
        "action_dim": action,
    }
    arrays = {
        f"state/{group}/{name}": value.numpy()
        for group, tensors in groups.items()
        for name, value in tensors.items()
    }
    return build_model(
        GoldenCase(name=model, hyper=dict(hyper), meta={}, arrays=arrays, tolerance={})
    )


def predict(model: JEPAWorldModel, *, proprio_dim: int) -> list[Tensor]:
    """Encode proprioception and predict from random tokens."""
    generator = torch.Generator().manual_seed(1)
    num_tokens, dim = model.encoder.num_tokens, model.encoder.dim
    code = None
    if model.proprio_encoder is not None:
        code = model.proprio_encoder(torch.randn(1, 2, proprio_dim, generator=generator))
        if model.predictor.layout.proprio_feature_dim:
            code = code.expand(-1, -1, num_tokens, -1)
    latents = Latent(tokens=torch.randn(1, 2, num_tokens, dim, generator=generator), proprio=code)
    with torch.no_grad():
        predicted = model.predict(latents, torch.randn(1, 2, model.action_dim, generator=generator))
    return [predicted.tokens] + ([] if predicted.proprio is None else [predicted.proprio])


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    for left, right in zip(got, expected, strict=True):
        torch.testing.assert_close(left, right)
