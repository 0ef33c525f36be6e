"""Plan in Wall with the bundled world model, act, and see whether the goal is reached."""

import torch

from jepawm import PlanningAgent, load
from jepawm.envs.wall.env import WallBatch

NUM_TASKS = 4

loaded = load("wall")  # world model, normaliser, configuration
experiment = loaded.experiment
env = WallBatch(image_size=experiment.data.image_size)
observation = env.reset(env.sample_tasks(seed=1, num_tasks=NUM_TASKS))

agent = PlanningAgent(
    model=loaded.model,
    objective=experiment.objective,  # distance of the last predicted latent to the goal's
    planner=experiment.planner,  # cross-entropy method
    normalizer=loaded.normalizer,
    frameskip=experiment.data.frameskip,
    horizon=6,
    num_action_steps=1,  # replan after every block of actions
    window=experiment.agent.window,
    generator=torch.Generator().manual_seed(0),
)
agent.reset(env.goal_observation(), num_steps=6)
for _ in range(6):
    block = agent.act(observation)  # [B, frameskip * action], environment units
    for action in block.unflatten(-1, (experiment.data.frameskip, -1)).unbind(1):
        observation = env.step(action.double().numpy())

solved = env.success()
print(f"{solved.sum()} of {NUM_TASKS} goals reached")
assert solved.mean() >= 0.75, "the bundled model should reach most goals"
