"""Cells of the benchmark, and their draws.

A *cell* fixes a family of densities, a dimension D, a context size N and a number of queries M. A *draw* of
a cell is one random density, a context (N, D) and fresh queries (M, D) from it, and the exact log-density and
score at the queries. It depends on the seed, the cell and the index of the draw alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from discoformer.errors import DiscoformerError
from discoformer_training.data.families import FAMILIES as STREAMED
from discoformer_training.data.families import Density, draw_density, draw_students, placed
from discoformer_training.data.mixtures import Mixtures, draw_mixtures
from discoformer_training.evaluation.floor import Components
from discoformer_training.evaluation.metrics import FloatArray, Values

LONG = 16384  # cells of this N or more have a quarter of the draws
AFFINE_CONDITION = 30.0  # greatest condition number of the map that half of the Student-t distributions get


class BenchmarkError(DiscoformerError, ValueError):
    """A cell cannot be drawn, or a cache does not belong to the draws."""


@dataclass(frozen=True)
class Cell:
    """A setting of the benchmark."""

    family: str  # key of FAMILIES
    dim: int  # D
    context_size: int  # N > D, so that the covariance has an inverse
    modes: tuple[int, int] = (1, 10)  # least and greatest number of modes of a mixture
    queries: int = 512  # M

    def __str__(self) -> str:
        modes = "-".join(str(count) for count in sorted(set(self.modes)))
        size = f"{self.family} D={self.dim} N={self.context_size}"
        return f"{size} modes={modes}" if self.family == "gmm" else size

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise BenchmarkError(f"family is {self.family!r}, needed one of {sorted(FAMILIES)}")
        if not 1 <= self.dim < self.context_size:
            raise BenchmarkError(f"dim is {self.dim}, needed 1 <= dim < context_size (={self.context_size})")
        if self.family in STREAMED and self.dim < STREAMED[self.family].least_dim:
            raise BenchmarkError(
                f"dim is {self.dim}, needed at least {STREAMED[self.family].least_dim} for {self.family}"
            )


@dataclass(frozen=True)
class Draw:
    """A context, fresh queries from the same density, and the truth about the density."""

    context: FloatArray  # (N, D)
    queries: FloatArray  # (M, D)
    truth: Values  # log-density and score at the queries
    components: Components | None = None  # of the density if it is a Gaussian mixture, else None


def _gaussian_mixture(cell: Cell, generator: torch.Generator) -> Density:
    return draw_mixtures(1, cell.dim, modes=cell.modes, generator=generator)


def _student3(cell: Cell, generator: torch.Generator) -> Density:
    students = draw_students(1, cell.dim, generator, freedom=(3.0, 3.0))
    return placed(students, 1, cell.dim, AFFINE_CONDITION, generator)


def _two_widths(cell: Cell, generator: torch.Generator) -> Density:
    """Draw two Gaussians of widths 1 and 1/1000, with equal weights and the means of published mixtures."""
    one = draw_mixtures(1, cell.dim, modes=(2, 2), generator=generator)
    variances = torch.tensor([[1.0], [1e-6]], dtype=torch.float64).expand_as(one.variances)
    two = replace(one, log_weights=torch.full_like(one.log_weights, -math.log(2)), variances=variances)
    return placed(two, 1, cell.dim, 1.0, generator)  # without a floor, whose covariances have one scale


def _streamed(cell: Cell, generator: torch.Generator) -> Density:
    return draw_density(cell.family, 1, cell.dim, generator=generator)


FAMILIES: dict[str, Callable[[Cell, torch.Generator], Density]] = {
    "gmm": _gaussian_mixture,
    "student3": _student3,  # 3 degrees of freedom exactly
    "two_widths": _two_widths,
    **dict.fromkeys(STREAMED, _streamed),
}


def default_cells() -> list[Cell]:
    """Return mixtures of 1 to 10 modes (D from 1 to 30), 2 modes (D = 100) and 11 to 19 modes."""
    cells = [Cell("gmm", dim, n) for n in (256, 1024, 4096) for dim in (1, 2, 5, 10, 30)]
    many = [Cell("gmm", dim, 2048, modes=(11, 19)) for dim in (2, 10)]
    high = [Cell("gmm", 100, n, modes=(2, 2)) for n in (2048, LONG)]
    return [*cells, high[0], *many, Cell("gmm", 2, LONG), Cell("gmm", 10, LONG), high[1]]


def wide_cells() -> list[Cell]:
    """Return Laplace, Student-t and Gumbel distributions, and curves in the plane."""
    dims = {"laplace": (2, 10), "student3": (2, 5, 20), "gumbel": (3, 10)}
    curves = [Cell(family, 2, 1024) for family in ("banana", "ring", "spirals")]
    return [*(Cell(family, dim, 1024) for family in dims for dim in dims[family]), *curves]


def small_cells() -> list[Cell]:
    """Return samples of 8 to 24 points: mixtures, and heavy and one-sided tails."""
    mixtures = [Cell("gmm", 2, 8), *(Cell("gmm", dim, 16) for dim in (2, 5, 10))]
    return [*mixtures, Cell("laplace", 1, 16), Cell("student3", 3, 16), Cell("gumbel", 3, 24)]


def tables_cells() -> list[Cell]:
    """Return densities like those of real tables: dependent, rounded, with atoms, edges, several scales."""
    dims = {
        "two_widths": (2, 5),
        "scales": (5,),
        "structural": (5, 20),
        "copulas": (5,),
        "vines": (10,),
        "manifolds": (20,),
        "rounded": (4,),
        "atoms": (3,),
        "edges": (2,),
        "checkerboard": (3,),
    }
    return [Cell(family, dim, 1024) for family in dims for dim in dims[family]]


TABLES = {"default": default_cells, "wide": wide_cells, "small": small_cells, "tables": tables_cells}


def draw(cell: Cell, index: int, *, seed: int = 0) -> Draw:
    """Return draw number ``index`` of a cell, the same on every call.

    Args:
        cell: the setting.
        index: number of the draw, from 0.
        seed: seed of the benchmark, at least 0.
    """
    family = int.from_bytes(cell.family.encode(), "little")
    key = [seed, family, cell.dim, cell.context_size, *cell.modes, cell.queries, index]
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    density = FAMILIES[cell.family](cell, generator)
    points = density.sample(cell.context_size + cell.queries, generator=generator)
    queries = points[:, cell.context_size :]
    log_density, score = density.log_density_and_score(queries)
    return Draw(
        points[0, : cell.context_size].numpy(),
        queries[0].numpy(),
        Values(log_density[0].numpy(), score[0].numpy()),
        _components(density),
    )


def _components(density: Density) -> Components | None:
    """Return the components in data units, or None if the density is not a Gaussian mixture."""
    if not isinstance(density, Mixtures):
        return None
    linear, weights = density.linear[0], density.log_weights[0].exp()
    variances = density.variances[0, weights > 0, :, None]  # (K, D, 1)
    return Components(
        weights[weights > 0].numpy(),
        (density.means[0, weights > 0] @ linear).numpy(),
        (linear.mT @ (variances * linear)).numpy(),
    )
