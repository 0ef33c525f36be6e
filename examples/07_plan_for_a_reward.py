"""Plan for a reward, without a goal picture: learn it on the latents of Wall's bundled model.

The reward is 1 in the lower right corner, and less with the distance. Takes about a minute.
"""

import tempfile
from pathlib import Path
from typing import cast

import jepawm
from jepawm import CEM, ActionSize, Reward
from jepawm.contracts import KnowsRewards, Simulator
from jepawm.rewards import RewardConfig
from jepawm.runs import RewardRules, RewardSource, train_reward_run

NUM_TASKS, NUM_BLOCKS = 8, 8

with tempfile.TemporaryDirectory() as folder:
    done = train_reward_run(
        "wall",
        RewardConfig(num_steps=200),
        learns_from=RewardSource(rewards="corner"),
        rules=RewardRules(out=Path(folder) / "run", num_episodes=60),
        data_root=Path(folder) / "data",
        device="cpu",
    )
    print(done.calibration)
    run = jepawm.load(done.run)
    agent = run.agent(
        objective=Reward() + 0.001 * ActionSize(),  # what plans earn, less a little for effort
        planner=CEM(num_samples=64, num_elites=8, num_iterations=4),
        protocol="mpc",
    )

env = cast(Simulator, run.make_env())
obs = env.reset(env.sample_tasks(seed=0, num_tasks=NUM_TASKS))
corner = cast(KnowsRewards, env).reward
before = corner("corner", env.states()).mean()
agent.reset(goal=None, num_steps=NUM_BLOCKS)
for _ in range(NUM_BLOCKS):
    block = agent.act(obs).double().numpy()  # [tasks, frameskip * action]
    for action in block.reshape(NUM_TASKS, -1, env.action_dim).swapaxes(0, 1):
        obs = env.step(action)
after = corner("corner", env.states()).mean()

print(f"mean reward of a state: {before:.2f} at the start, {after:.2f} at the end")
assert after > before + 0.1
