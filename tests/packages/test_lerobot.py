"""LeRobot's plugins, in an environment that has lerobot; `benchmarks/lerobot_commands.py` runs its real commands."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm import load
from jepawm.errors import UserError
from jepawm.protocol import draw_tasks

pytest.importorskip("lerobot", reason="lerobot is not installed; it pins versions of its own")
pytest.importorskip(
    "lerobot_policy_jepawm", reason="packages/lerobot_policy_jepawm is not installed"
)
pytest.importorskip("lerobot_env_jepawm", reason="packages/lerobot_env_jepawm is not installed")

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot_env_jepawm.arm import JepawmArm, JepawmArmConfig
from lerobot_env_jepawm.environments import TaskEnv
from lerobot_policy_jepawm.configuration_jepawm import JepawmConfig
from lerobot_policy_jepawm.export_jepawm import export_policy
from lerobot_policy_jepawm.modeling_jepawm import JepawmPolicy

CAMERA, GOAL = "observation.images.front", "observation.images.goal"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_policy("wall", tmp_path_factory.mktemp("lerobot") / "wall", protocol="paper")


def reload(folder: Path, **changes: object) -> JepawmPolicy:
    config = PreTrainedConfig.from_pretrained(folder)
    for name, value in changes.items():
        setattr(config, name, value)
    return JepawmPolicy.from_pretrained(folder, config=config)


def batch_of(env: TaskEnv, *, seed: int) -> dict[str, torch.Tensor]:
    observation, _ = env.reset(seed=seed)
    return {
        **{
            f"observation.images.{name}": torch.from_numpy(one)[None].permute(0, 3, 1, 2) / 255
            for name, one in observation["pixels"].items()
        },
        "observation.state": torch.from_numpy(observation["agent_pos"])[None],
        "observation.environment_state": torch.from_numpy(observation["environment_state"])[None],
    }


def fresh(*, width: int = 2, state: int = 2) -> JepawmPolicy:
    """Return a policy for a robot of two joints, as `lerobot-train` makes it."""
    config = JepawmConfig(
        device="cpu",
        input_features={
            CAMERA: PolicyFeature(type=FeatureType.VISUAL, shape=(3, 64, 64)),
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(state,)),
        },
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(width,))},
        push_to_hub=False,
    )
    numbers = {"mean": [0.5] * width, "std": [2.0, 0.0][:width]}
    return JepawmPolicy(config, dataset_stats={"action": numbers, "observation.state": numbers})


def windows(policy: JepawmPolicy, *, count: int = 4) -> dict[str, torch.Tensor]:
    frames, actions = policy.config.observation_delta_indices, policy.config.action_delta_indices
    draw = torch.Generator().manual_seed(0)
    return {
        CAMERA: torch.rand(count, len(frames), 3, 64, 64, generator=draw),
        "observation.state": torch.randn(count, len(frames), 2, generator=draw),
        "action": torch.randn(count, len(actions), 2, generator=draw),
        "action_is_pad": torch.zeros(count, len(actions), dtype=torch.bool),
    }


def test_an_exported_model_acts_as_its_agent_does(exported: Path):
    policy, batch = reload(exported), batch_of(TaskEnv(env="wall"), seed=3)
    with torch.inference_mode():
        actions = torch.cat([policy.select_action(batch) for _ in range(5)])
    loaded = load("wall")
    own = loaded.make_env()
    obs = own.reset(draw_tasks(own, num_tasks=96, seed=0, split="test")[3:4])
    agent = loaded.agent()
    agent.reset(own.goal_observation(), 6)
    expected = agent.act(obs).reshape(5, 2)
    np.testing.assert_allclose(actions.numpy(), expected.numpy(), atol=1e-3)


def test_a_seed_is_a_task_of_the_list_and_success_is_at_the_goal():
    env = TaskEnv(env="wall")
    first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3 + 96)
    other, _ = env.reset(seed=4)
    assert np.array_equal(first["pixels"]["goal"], again["pixels"]["goal"])
    assert not np.array_equal(first["pixels"]["goal"], other["pixels"]["goal"])
    _, reward, terminated, _, info = env.step(np.zeros(2))
    assert (reward, terminated, info["is_success"]) == (0.0, False, False)


def test_training_lowers_the_loss_and_a_saved_policy_acts_alike(tmp_path: Path):
    policy = fresh()
    policy.train()
    batch, optimizer = windows(policy), torch.optim.AdamW(policy.get_optim_params(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss, terms = policy.forward(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(terms["loss"])
    assert losses[-1] < losses[0]
    policy.eval()
    policy.save_pretrained(tmp_path)
    seen = {name: one[:1, 0] for name, one in batch.items() if name != "action_is_pad"}
    seen |= {GOAL: batch[CAMERA][1:2, -1], "observation.environment_state": torch.zeros(1, 2)}
    plans = [one.predict_action_chunk(seen) for one in (policy, reload(tmp_path))]
    assert plans[0].shape == (1, 15, 2)
    torch.testing.assert_close(plans[0], plans[1])


def test_statistics_are_those_of_the_data_set():
    policy = fresh()
    assert policy.action_mean.tolist() == [0.5, 0.5]
    assert policy.action_std.tolist() == [2.0, 1.0]  # a constant column is not divided by 0


def test_windows_beyond_the_end_of_an_episode_are_left_out():
    policy = fresh()
    batch = windows(policy)
    expected, _ = policy.forward({name: one[:3] for name, one in batch.items()})
    batch["action_is_pad"][3, -1] = True
    batch[CAMERA][3] = 0.0
    policy = fresh()
    found, _ = policy.forward(batch)
    torch.testing.assert_close(found, expected)


def test_a_folder_without_weights_or_with_others_is_refused(exported: Path, tmp_path: Path):
    (tmp_path / "config.json").write_bytes((exported / "config.json").read_bytes())
    with pytest.raises(UserError, match=r"has no model.safetensors; export or train"):
        reload(tmp_path)
    fresh().save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_bytes((exported / "config.json").read_bytes())
    with pytest.raises(UserError, match=r"does not fit its config.json: unexpected"):
        reload(tmp_path / "other")


def test_a_robot_of_another_width_is_refused(exported: Path):
    feature = PolicyFeature(type=FeatureType.ACTION, shape=(7,))
    with pytest.raises(UserError, match="action has 7 numbers here, and the policy learned from 2"):
        reload(exported, output_features={"action": feature})


def test_without_a_goal_it_says_how_to_give_one(exported: Path):
    policy, batch = reload(exported), batch_of(TaskEnv(env="wall"), seed=0)
    del batch[GOAL]
    with pytest.raises(UserError, match=r"give --policy.goal=PICTURE or --policy.goal_dataset="):
        policy.select_action(batch)
    with pytest.raises(UserError, match="is no file; give a picture by the same camera"):
        reload(exported, goal="absent.png").select_action(batch)
    with pytest.raises(UserError, match="is no data set of LeRobot"):
        reload(exported, goal_dataset="absent").select_action(batch)


def test_several_cameras_are_listed():
    policy = fresh()
    config = policy.config
    config.input_features[CAMERA.replace("front", "wrist")] = config.input_features[CAMERA]
    with pytest.raises(UserError, match=r"observation.images.front, observation.images.wrist"):
        config.camera_key()


def test_the_simulated_arm_goes_where_it_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    arm = JepawmArm(JepawmArmConfig(id="one", lag_s=1e-6, calibration_dir=tmp_path))
    with pytest.raises(UserError, match="not connected"):
        arm.get_observation()
    arm.connect()
    arm.send_action({"joint_1.pos": 0.5, "joint_2.pos": -0.25})
    seen = arm.get_observation()
    assert seen["joint_1.pos"] == pytest.approx(0.5, abs=1e-3)
    assert seen["front"].shape == (64, 64, 3)
