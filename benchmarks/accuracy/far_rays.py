"""Regularity of the tails of a model along rays from the centre, from the outermost point that it reads on.

For each effort, over all cells: the greatest rise of the log-density outward in nats, the share of the rays
that rise by 0.001 nats or more, and the greatest difference of the score along the ray from the slope of the
log-density, over |score|. They cover |z| from 1 to 10,000 times that of the outermost point, D from 1 to 30,
N = 32, 128, 512, seven families (draws 0 and 1) and 16 rays each.

    python -m benchmarks.accuracy.far_rays models/base
"""

import click
import numpy as np

import discoformer
from benchmarks.common.report import load_model
from discoformer.onnx.names import Effort
from discoformer_training.evaluation.cells import Cell, draw

FAMILIES = ("gmm", "student3", "laplace", "gumbel", "structural", "copulas", "edges")
LENGTHS = np.concatenate([np.geomspace(1.002, 5, 100), np.geomspace(5.1, 1e4, 100)])
RAYS = 16
STEP = 1e-3  # relative, of the central difference


def irregularity(
    model: discoformer.Model, cell: Cell, index: int, effort: Effort
) -> tuple[float, float, float]:
    """Return the greatest rise, the share of the rays that rise, and the greatest error of the slope."""
    rng = np.random.default_rng(index)
    p = model.estimate(draw(cell, index).context, effort=effort)
    radius = np.linalg.norm(p.frame.to_frame(p.landmarks.points), axis=1).max()
    rays = rng.normal(size=(RAYS, 1, cell.dim))
    rays *= radius / np.linalg.norm(rays, axis=-1, keepdims=True)
    points = (LENGTHS[:, None] * rays).reshape(-1, cell.dim)
    log_density, score = p.answer_in_frame(points)
    if not (np.isfinite(log_density).all() and np.isfinite(score).all()):
        raise SystemExit(f"answers are not finite in {cell}, draw {index}")
    along = log_density.reshape(RAYS, -1)
    rises = (along - np.minimum.accumulate(along, axis=1)).max(axis=1)
    ahead, behind = (p.answer_in_frame((1 + sign * STEP) * points)[0] for sign in (1, -1))
    length = np.linalg.norm(points, axis=1)
    error = np.abs((ahead - behind) / (2 * STEP) - (score * points).sum(1))
    relative = error / (length * np.linalg.norm(score, axis=1))
    return float(rises.max()), float((rises > 1e-3).mean()), float(relative.max())


@click.command()
@click.argument("model")
def main(model: str) -> None:
    """Print the figures of MODEL, the name or folder of a released model."""
    loaded = load_model(model)
    cells = [
        Cell(family, dim, n)
        for family in FAMILIES
        for dim in (1, 2, 5, 10, 30)
        for n in (32, 128, 512)
        if dim > 1 or family in ("gmm", "student3", "laplace", "gumbel")
    ]
    print(
        "| effort | greatest rise, nats | rays that rise | greatest error of the slope |\n|---|---|---|---|"
    )
    for effort in ("best", "fast"):
        found = [irregularity(loaded, cell, index, effort) for cell in cells for index in (0, 1)]
        rise, share, error = zip(*found, strict=True)
        print(f"| {effort} | {max(rise):.2g} | {np.mean(share):.2%} | {max(error):.2g} |", flush=True)


if __name__ == "__main__":
    main()
