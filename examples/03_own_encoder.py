"""Train with an encoder of your own; a few seconds, so it is too short to be useful.

The encoder is in a module of its own, my_encoder.py, so that the run names it for everyone who
loads the run: a class of this script would be `__main__:PatchEncoder`, which no other script finds.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from my_encoder import PatchEncoder

import jepawm
from jepawm.testing import check_encoder

check_encoder(PatchEncoder(dim=32))  # says which rule of the contract does not hold, if any
experiment = replace(
    jepawm.WALL,
    encoder=PatchEncoder(dim=32),
    data=replace(jepawm.WALL.data, num_episodes=32),
    optim=replace(jepawm.WALL.optim, num_steps=40, batch_size=32),
    loop=replace(jepawm.WALL.loop, log_every=5),
    proposals=replace(jepawm.WALL.proposals, num_steps=0),  # the world model alone
)
with tempfile.TemporaryDirectory() as folder:
    run = jepawm.train(experiment, out=Path(folder) / "run", data_root=Path(folder) / "data")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    loaded = jepawm.load(run)  # builds the encoder from the run: `my_encoder:PatchEncoder`

print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} with {type(loaded.model.encoder).__name__}")
assert losses[-1] < losses[0]
