"""Act in a loop of your own: load a model, show it a picture of the goal, ask for actions.

The environment stands for your robot. All that the agent needs of it is what its camera sees.
"""

import jepawm

wall = jepawm.load("wall")
robot = wall.make_env()
obs = robot.reset(robot.sample_tasks(seed=0, num_tasks=1))
agent = wall.agent(protocol="mpc", seed=0)  # plans anew after each block of actions
agent.reset(goal=robot.goal_observation(), num_steps=12)  # arrive within 12 blocks of actions
for _ in range(12):
    block = agent.act(obs)[0].double().numpy()  # [frameskip * action], environment units
    for action in block.reshape(agent.protocol.frameskip, -1):
        obs = robot.step(action[None])  # a batch of one
    if robot.success()[0]:
        break

print("goal reached" if robot.success()[0] else "goal missed")
assert robot.success()[0]
