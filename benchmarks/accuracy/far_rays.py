"""Regularity of the tails of a model along rays from the centre.

The figures are the largest r = |z| / sqrt(D) at which the log-density rises outward, or the score points
outward. They cover r from 10 to 1e6 in the frame, D from 1 to 100, N = 32, 128, 512, four mixtures (seeds 0
to 3) and 16 rays each.

    python -m benchmarks.accuracy.far_rays models/base
"""

import click
import numpy as np
import torch

import discoformer
from benchmarks.common.report import load_model
from discoformer_training.data.mixtures import draw_mixtures

RADII = np.geomspace(10, 1e6, 200)
RAYS = 16


def last_irregularity(model: discoformer.Model, dim: int, n: int, seed: int) -> tuple[float, float]:
    """Return the largest r with a rising log-density and with an outward score, 0 for none."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    mixture = draw_mixtures(1, dim, affine_condition=30, generator=generator)
    p = model.estimate(mixture.sample(n, generator=generator)[0].numpy())
    rays = rng.normal(size=(RAYS, 1, dim))
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    points = (dim**0.5 * RADII[:, None] * rays).reshape(-1, dim)
    log_density, score = p.answer_in_frame(points)
    if not (np.isfinite(log_density).all() and np.isfinite(score).all()):
        raise SystemExit(f"answers are not finite at D = {dim}, N = {n}, seed {seed}")
    rises = (np.diff(log_density.reshape(RAYS, -1)) >= 0).any(axis=0)
    outward = ((score.reshape(RAYS, -1, dim) * rays).sum(-1) >= 0).any(axis=0)
    return float((RADII[1:] * rises).max()), float((RADII * outward).max())


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Print the largest r over all cells for MODEL, the name or folder of a released model."""
    loaded = load_model(model)
    cells = [(dim, n, seed) for dim in (1, 2, 5, 10, 30, 100) for n in (32, 128, 512) for seed in range(4)]
    worst = [
        max(values) for values in zip(*(last_irregularity(loaded, *cell) for cell in cells), strict=True)
    ]
    print(f"log-density last rises at r = {worst[0]:.0f}, score last points outward at r = {worst[1]:.0f}")


if __name__ == "__main__":
    main()
