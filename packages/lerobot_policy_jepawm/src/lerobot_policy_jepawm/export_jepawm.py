"""`lerobot-export-jepawm RUN --out DIR`: a run of jepawm as a policy that LeRobot loads."""

import argparse
import json
import sys
from pathlib import Path

from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE

from jepawm.errors import UserError
from jepawm.experiment import experiment_to_json
from jepawm.hub.load import load
from lerobot_policy_jepawm.configuration_jepawm import GOAL, JepawmConfig
from lerobot_policy_jepawm.modeling_jepawm import JepawmPolicy
from lerobot_policy_jepawm.processor_jepawm import make_jepawm_pre_post_processors


def export_policy(source: str, out: Path, *, camera: str = "image", protocol: str = "") -> Path:
    """Write a run, or a bundled model, as a policy folder.

    Args:
        source: run folder, or bundled or released name.
        out: new folder.
        camera: name of the camera in LeRobot's observations.
        protocol: protocol of the experiment to plan by; empty: 3 blocks ahead, replanned after one.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} already holds files; choose another --out")
    loaded = load(source)
    normalizer, size = loaded.normalizer, loaded.image_size
    proprio = normalizer.proprio_mean
    uses_state = loaded.experiment.proprio.mode != "none" and proprio is not None
    width = len(proprio) if uses_state and proprio is not None else 0
    picture = PolicyFeature(type=FeatureType.VISUAL, shape=(3, size, size))
    inputs = {f"observation.images.{camera}": picture, GOAL: picture}
    if width:
        inputs[OBS_STATE] = PolicyFeature(type=FeatureType.STATE, shape=(width,))
        inputs[OBS_ENV_STATE] = PolicyFeature(type=FeatureType.ENV, shape=(width,))
    data = loaded.data
    config = JepawmConfig(
        experiment=json.dumps(experiment_to_json(loaded.experiment)),
        action_dim=normalizer.action_dim,
        proprio_dim=width,
        commands=json.dumps(normalizer.commands.to_json()) if normalizer.commands else "",
        fit=(data.fit if data is not None else None) or "crop",
        protocol=protocol,
        input_features=inputs,
        output_features={
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(normalizer.action_dim,))
        },
        device="cpu",
        push_to_hub=False,
    )
    policy = JepawmPolicy(config)
    policy.learner.model.load_state_dict(loaded.model.state_dict())
    policy.action_mean.copy_(normalizer.action_mean)
    policy.action_std.copy_(normalizer.action_std)
    if width and normalizer.proprio_mean is not None and normalizer.proprio_std is not None:
        policy.proprio_mean.copy_(normalizer.proprio_mean)
        policy.proprio_std.copy_(normalizer.proprio_std)
    policy.save_pretrained(out)
    for pipeline in make_jepawm_pre_post_processors(config):
        pipeline.save_pretrained(out)
    return out


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder, or bundled or released name")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the policy")
    parser.add_argument("--camera", default="image", help="camera in LeRobot's observations")
    parser.add_argument("--protocol", default="", help="protocol of the run, as paper or mpc")
    options = parser.parse_args()
    try:
        out = export_policy(
            options.run, options.out, camera=options.camera, protocol=options.protocol
        )
    except UserError as error:
        sys.stderr.write(f"lerobot-export-jepawm: {error}\n")
        return 2
    sys.stdout.write(f"{out}: lerobot-eval --policy.path={out} --env.type=...\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
