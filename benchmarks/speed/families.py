"""CPU milliseconds of drawing a data set of each family of the training stream: density, points and answers.

1,024 points of the context and 512 queries, of which a fifth is answered twice, as in the stream. Means over
20 densities, one thread. The last rows are means by the shares of the recipes.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.families
"""

import time
from collections.abc import Iterator
from pathlib import Path

import click
import torch

from benchmarks.common.report import markdown
from discoformer_training.data.families import FAMILIES, draw_density
from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.run.config import TrainConfig

DIMS = (2, 10, 50)
POINTS, QUERIES, TWICE = 1024, 512, 100
RUNS = 20
RECIPES = Path(__file__).parents[2] / "training" / "recipes"


def milliseconds(family: str, dim: int) -> float:
    """Return the mean CPU time of a data set."""
    begin = time.process_time()
    for seed in range(RUNS):
        generator = torch.Generator().manual_seed(seed)
        density = (
            draw_mixtures(1, dim, affine_condition=30.0, generator=generator)
            if family == "gmm"
            else draw_density(family, 1, dim, affine_condition=30.0, generator=generator)
        )
        density.sample(POINTS, generator=generator)
        queries = density.sample(QUERIES, generator=generator)
        density.log_density_and_score(queries[:, :TWICE])
        density.log_density_and_score(queries)
    return 1000 * (time.process_time() - begin) / RUNS


def table() -> Iterator[list[str]]:
    """Yield the rows of the table."""
    found = {name: {dim: milliseconds(name, dim) for dim in DIMS} for name in ("gmm", *FAMILIES)}
    for name, times in found.items():
        yield [name, *(f"{times[dim]:.1f}" for dim in DIMS)]
    base, more = ((RECIPES / name).read_text(encoding="utf-8") for name in ("base.json", "tables.json"))
    config = TrainConfig.from_json(base)
    for name, stream in (("base.json", config.stream), ("tables.json", config.updated(more).stream)):
        shares = stream.families
        means = (sum(shares[f] * found[f][dim] for f in shares) / sum(shares.values()) for dim in DIMS)
        yield [name, *(f"{mean:.1f}" for mean in means)]


@click.command(help=__doc__)
def main() -> None:
    """Print the table."""
    milliseconds("gmm", 2)  # to warm up
    click.echo(markdown(["family", *(f"D = {dim}" for dim in DIMS)], list(table())))


if __name__ == "__main__":
    main()
