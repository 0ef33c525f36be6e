"""The world models and image decoders that were released with the paper, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jepawm.errors import UserError
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.hub.datasets import DATASETS
from jepawm.hub.download import fetch
from jepawm.hub.reference import Family, predictor_config
from jepawm.models.decoder import DecoderConfig
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.models.frozen.preprocessing import Normalization
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.normalizer import Normalizer
from jepawm.planning.objectives import LatentDistance
from jepawm.training.losses import LossConfig

REPOSITORY = "facebook/jepa-wms"
"""Where the files are on the Hugging Face hub."""
MIRROR = "https://dl.fbaipublicfiles.com/jepa-wms"
"""Where they are under other names."""


@dataclass(frozen=True, kw_only=True)
class ReleasedModel:
    """A released world model."""

    family: Family
    """Which predictor."""
    dataset: str
    """Data that it was trained on."""
    mirror_name: str
    """Name of the file at the mirror, without its ending."""
    proprio: ProprioConfig = ProprioConfig(mode="none")
    """How proprioception enters."""
    action_code_dim: int = 0
    """Width of the action code that joins the channels (DINO-WM)."""


@dataclass(frozen=True, kw_only=True)
class ReleasedDecoder:
    """A released decoder of images."""

    mirror_name: str
    """Name of the file at the mirror, without its ending."""
    latent_dim: int
    """Width D of the tokens that it reads."""
    image_size: int
    """Side in pixels of the images that it paints."""
    normalization: Normalization = "imagenet"
    """Mean and standard deviation, those of the world model that it belongs to."""
    config: DecoderConfig = DecoderConfig()
    """Sizes of its transformer."""
    models: str
    """World models that it goes with, in words."""


def released_experiment(name: str) -> Experiment:
    """Return the configuration of a released world model."""
    released = find_released(name)
    data = DATASETS[released.dataset]
    joint = released.family == "vjepa2_ac"
    encoder = _encoder(released)
    frames = 8 if joint else 4
    return Experiment(
        name=name,
        env=data.env,
        seed=234,
        encoder=encoder,
        predictor=_predictor(released, visual_dim=encoder.shape.width, window=frames),
        proprio=released.proprio,
        loss=LossConfig(
            rollout_steps=1 if released.family == "dino_wm" else 2,
            rollout_gradient="all" if joint else "last",
            rollout_prefix="first" if joint else "random",
            rollout_window=frames if joint else 3,
            metric="l1" if joint else "mse",
            proprio=not joint,
        ),
        data=DataConfig(
            image_size=encoder.image_size,
            num_steps=frames - 1,
            frameskip=data.protocol.frameskip,
        ),
        planner=data.planner,
        objective=LatentDistance(proprio_weight=0.0 if released.dataset == "droid" else 0.1),
        agent=AgentConfig(window=2),
        protocols=(data.protocol,),
    )


def released_normalizer(name: str) -> Normalizer:
    """Return the statistics that a released world model was trained with."""
    return DATASETS[find_released(name).dataset].normalizer()


def find_released(name: str) -> ReleasedModel:
    """Return a released world model by name."""
    if name not in RELEASED:
        raise UserError(f"no released model is called {name!r} (there are: {', '.join(RELEASED)})")
    return RELEASED[name]


def fetch_released(name: str) -> Path:
    """Return the path of the file of a released model or decoder; fetch it where it is missing."""
    mirror_name = (DECODERS[name] if name in DECODERS else find_released(name)).mirror_name
    return fetch(
        REPOSITORY,
        f"{name}.pth.tar",
        by_hand=f"run: jepawm import jepa-wms FILE --model {name} --out DIR (the file is also at "
        f"{MIRROR}/{mirror_name}.pth.tar)",
    )


def _encoder(released: ReleasedModel) -> FrozenEncoderConfig:
    if released.family == "vjepa2_ac":
        return FrozenEncoderConfig(family="vjepa2", size="g", image_size=256, normalize_output=True)
    if released.family == "AdaLN" and released.dataset == "droid":
        return FrozenEncoderConfig(family="dinov3", size="L", image_size=256)
    return FrozenEncoderConfig(normalization="half" if released.family == "dino_wm" else "imagenet")


def _predictor(released: ReleasedModel, *, visual_dim: int, window: int) -> PredictorConfig:
    dino_wm, joint = released.family == "dino_wm", released.family == "vjepa2_ac"
    width = 1024 if joint else visual_dim
    feature_dim = released.proprio.dim if released.proprio.mode == "feature" else 0
    config = predictor_config(
        released.family,
        depth=24 if joint else 12 if width == 1024 else 6,
        num_heads=16,
        head_dim=64 if dino_wm else (width + feature_dim) // 16,
        visual_dim=width,
        window=window,
        action_code_dim=released.action_code_dim,
        hidden_dim=2048 if dino_wm else None,
    )
    return replace(config, dropout=0.1) if dino_wm else config


def _models() -> Mapping[str, ReleasedModel]:
    models: dict[str, ReleasedModel] = {}
    codes = {"metaworld": (20, 20), "pusht": (20, 10), "pointmaze": (20, 10), "wall": (10, 10)}
    short = {"metaworld": "mw", "pusht": "pt", "pointmaze": "mz", "wall": "wall"}
    for data, (proprio_dim, action_dim) in codes.items():
        models[f"jepa_wm_{data}"] = ReleasedModel(
            family="AdaLN",
            dataset=data,
            mirror_name=f"{short[data]}_jepa-wm",
            proprio=ProprioConfig(mode="feature", dim=16),
        )
        models[f"dino_wm_{data}"] = ReleasedModel(
            family="dino_wm",
            dataset=data,
            mirror_name=f"{short[data]}_dino-wm",
            proprio=ProprioConfig(mode="feature", dim=proprio_dim),
            action_code_dim=action_dim,
        )
    models["jepa_wm_droid"] = ReleasedModel(
        family="AdaLN", dataset="droid", mirror_name="droid_jepa-wm_noprop"
    )
    models["dino_wm_droid"] = ReleasedModel(
        family="dino_wm", dataset="droid", mirror_name="droid_dino-wm_noprop", action_code_dim=10
    )
    models["vjepa2_ac_droid"] = ReleasedModel(
        family="vjepa2_ac", dataset="droid", mirror_name="droid_vj2ac_noprop"
    )
    models["vjepa2_ac_oss"] = ReleasedModel(
        family="vjepa2_ac",
        dataset="droid",
        mirror_name="droid_vj2ac_oss-prop",
        proprio=ProprioConfig(mode="token"),
    )
    return dict(sorted(models.items()))


RELEASED: Mapping[str, ReleasedModel] = _models()
"""Released world models by the name of their file at the hub."""

DECODERS: Mapping[str, ReleasedDecoder] = {
    "dinov2_vits_224": ReleasedDecoder(
        mirror_name="vm2m_lpips_dv2vits_vitldec_224_05norm",
        latent_dim=384,
        image_size=224,
        normalization="half",
        models="dino_wm_*",
    ),
    "dinov2_vits_224_INet": ReleasedDecoder(
        mirror_name="vm2m_lpips_dv2vits_vitldec_224_INet",
        latent_dim=384,
        image_size=224,
        models="jepa_wm_metaworld, jepa_wm_pointmaze, jepa_wm_pusht, jepa_wm_wall",
    ),
    "dinov3_vitl_256_INet": ReleasedDecoder(
        mirror_name="vm2m_lpips_dv3vitl_256_INet",
        latent_dim=1024,
        image_size=256,
        models="jepa_wm_droid",
    ),
    "vjepa2_vitg_256_INet": ReleasedDecoder(
        mirror_name="vm2m_lpips_vj2vitgnorm_vitldec_dup_256_INet",
        latent_dim=1408,
        image_size=256,
        config=DecoderConfig(depth=12),
        models="vjepa2_ac_droid, vjepa2_ac_oss",
    ),
}
"""Released decoders by the name of their file at the hub."""
