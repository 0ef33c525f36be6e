"""Plan for a sentence, without a goal picture: learn what words mean on Wall's bundled model.

The text encoder counts words, so that nothing is downloaded; `minilm` knows synonyms. Takes about a minute.
"""

import tempfile
from pathlib import Path
from typing import cast

import numpy as np

import jepawm
from jepawm import CEM, Text, TextDistance
from jepawm.contracts import KnowsCaptions, Simulator
from jepawm.runs import TextRules, train_text_run
from jepawm.texts import TextConfig

TEXT, NUM_TASKS, NUM_BLOCKS = "go to the left room", 8, 6

with tempfile.TemporaryDirectory() as folder:
    done = train_text_run(
        "wall",
        TextConfig(text="words", num_steps=200),
        rules=TextRules(out=Path(folder) / "run", num_episodes=60),
        data_root=Path(folder) / "data",
        device="cpu",
    )
    print(done.retrieval["seen"])
    run = jepawm.load(done.run)
    agent = run.agent(
        objective=TextDistance(),
        planner=CEM(num_samples=64, num_elites=8, num_iterations=4),
        protocol="mpc",
    )

env = cast(Simulator, run.make_env())
meant = cast(KnowsCaptions, env).captions.find(TEXT)
assert meant is not None
obs = env.reset(env.sample_tasks(seed=0, num_tasks=NUM_TASKS))
before = np.mean(meant.place.holds(env.states()))
agent.reset(goal=Text(TEXT), num_steps=NUM_BLOCKS)
for _ in range(NUM_BLOCKS):
    block = agent.act(obs).double().numpy()  # [tasks, frameskip * action]
    for action in block.reshape(NUM_TASKS, -1, env.action_dim).swapaxes(0, 1):
        obs = env.step(action)
after = np.mean(meant.place.holds(env.states()))

print(f"{TEXT!r} holds for {before:.0%} at the start, for {after:.0%} at the end")
assert after > before
