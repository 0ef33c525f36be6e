"""Check that the job is the same work: with torch-world's weights, our rollouts equal its rollouts.

Run from the root of the repository after benchmarks/peers/setup.sh. torch-world needs torch only,
so here it is imported from its environment into ours.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from job import JOBS
from side_jepawm import Jepawm

from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.types import Context, Latent

sys.path.extend(map(str, Path(__file__).parents[2].glob(".peers/torch-world/lib/*/site-packages")))

from side_torch_world import TorchWorld


@torch.no_grad()
def main() -> None:
    """Roll both out on a smaller model of the job `dino_wm`; fail above 1e-4 relative."""
    torch.manual_seed(0)
    job = replace(JOBS["dino_wm"], num_tokens=9, dim=44, mlp_dim=64, num_heads=2, head_dim=8)
    ours, theirs = Jepawm(job).model, TorchWorld(job).model
    for block, source in zip(ours.predictor.blocks, theirs.predictor.blocks, strict=True):
        pairs = [
            (block.norm1, source.norm1),
            (block.attn.qkv, source.attn.qkv),
            (block.attn.proj, source.attn.proj),
            (block.norm2, source.norm2),
            (block.mlp.fc1, source.mlp[0]),
            (block.mlp.fc2, source.mlp[2]),
        ]
        for part, copied in pairs:
            part.load_state_dict(copied.state_dict())
    ours.predictor.norm.load_state_dict(theirs.predictor.norm.state_dict())
    ours.predictor.action_encoder.load_state_dict(theirs.action_encoder.state_dict())
    ours.predictor.position_table.copy_(theirs.pos_embed)

    start = torch.randn(5, 1, job.num_tokens, job.dim + job.feature_dim)
    actions = torch.randn(5, job.horizon, job.action_dim)
    latents = Latent(tokens=start[..., : job.dim], proprio=start[..., job.dim :])
    context = Context(latents=latents, actions=torch.zeros(5, 0, job.action_dim))
    expected = theirs.rollout(start, actions)[:, 1:]  # [5, H, N, D + Dp]
    for precision in ("float32", "bfloat16x3"):
        engine = RolloutEngine(ours, context, config=EngineConfig(precision=precision))
        rolled = engine.latents(actions[:, None])[:, 0]
        assert rolled.proprio is not None
        difference = (torch.cat([rolled.tokens, rolled.proprio], dim=-1) - expected).abs().max()
        relative = float(difference / expected.abs().max())
        print(f"{precision}: {job.horizon} predictions differ by at most {relative:.1e} relative")
        if relative > 1e-4:
            raise SystemExit("the two models differ")


if __name__ == "__main__":
    main()
