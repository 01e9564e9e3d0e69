"""Regularity of the tails of a model along rays from the centre.

The figures are the largest r = |z| / sqrt(D) at which the log-density rises outward, or the score points
outward. They cover r from 10 to 1e6 in the frame, D from 1 to 100, N = 32, 128, 512, four mixtures (seeds 0
to 3) and 16 rays each.

    python -m benchmarks.accuracy.far_rays models/gmm
"""

from pathlib import Path

import click
import torch

from discoformer.base.frame import fit_frames
from discoformer_training.data.context import context_in_frame
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.checkpoint import load_network

RADII = torch.logspace(1, 6, 200, dtype=torch.float64)
RAYS = 16


@torch.no_grad()
def last_irregularity(network: DiScoFormer, dim: int, n: int, seed: int) -> tuple[float, float]:
    """Return the largest r with a rising log-density and with an outward score, 0 for none."""
    generator = torch.Generator().manual_seed(seed)
    mixture = draw_mixtures(1, dim, affine_condition=30, generator=generator)
    context = mixture.sample(n, generator=generator)
    rays = torch.randn(RAYS, 1, dim, generator=generator, dtype=torch.float64)
    rays /= rays.norm(dim=-1, keepdim=True)
    points = (dim**0.5 * RADII[:, None] * rays).reshape(1, -1, dim).float()
    log_density, score = network(context_in_frame(context, fit_frames(context)), points)
    if not (log_density.isfinite().all() and score.isfinite().all()):
        raise SystemExit(f"answers are not finite at D = {dim}, N = {n}, seed {seed}")
    rises = (log_density.reshape(RAYS, -1).diff(dim=1) >= 0).any(0)
    outward = ((score.reshape(RAYS, -1, dim) * rays).sum(-1) >= 0).any(0)
    return (RADII[1:] * rises).max().item(), (RADII * outward).max().item()


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
def main(checkpoint: Path) -> None:
    """Print the largest r over all cells for CHECKPOINT, a file or the folder of a released model."""
    network = load_network(checkpoint)
    cells = [(dim, n, seed) for dim in (1, 2, 5, 10, 30, 100) for n in (32, 128, 512) for seed in range(4)]
    worst = [
        max(values) for values in zip(*(last_irregularity(network, *cell) for cell in cells), strict=True)
    ]
    print(f"log-density last rises at r = {worst[0]:.0f}, score last points outward at r = {worst[1]:.0f}")


if __name__ == "__main__":
    main()
