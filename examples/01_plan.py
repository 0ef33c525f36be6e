"""Plan in Wall with the bundled world model, act, and see whether the goal is reached."""

from jepawm import load

NUM_TASKS = 4

loaded = load("wall")  # world model, normaliser, configuration
env = loaded.make_env()
observation = env.reset(env.sample_tasks(seed=1, num_tasks=NUM_TASKS))

agent = loaded.agent(protocol="mpc", seed=0)  # CEM, replanning after every block of actions
agent.reset(env.goal_observation(), num_steps=6)
for _ in range(6):
    block = agent.act(observation)  # [B, frameskip * action], environment units
    for action in block.unflatten(-1, (agent.protocol.frameskip, -1)).unbind(1):
        observation = env.step(action.double().numpy())

solved = env.success()
print(f"{solved.sum()} of {NUM_TASKS} goals reached")
assert solved.mean() >= 0.75, "the bundled model should reach most goals"
