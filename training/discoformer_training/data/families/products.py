"""Laws by name, densities with independent coordinates, and small helpers of the other families.

Shapes: B densities, n points, D dimensions. Everything is float64.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from discoformer_training.data.families import laws
from discoformer_training.data.families.density import Affine, Density, Joint
from discoformer_training.data.mixtures import WEIGHT_RANGE
from discoformer_training.data.randoms import choice, uniform

FREEDOM_RANGE = (2.0, 30.0)  # least and greatest degrees of freedom of Student-t distributions
WIDTH = 6.0  # width of supports that are intervals
SAMPLE = 256  # number of draws that tell the mean and the deviation of a density

Range = Callable[[float, float], Tensor]  # draws one parameter per coordinate, uniform, (B, 1, D)

LAWS: dict[str, Callable[[Range], laws.Law]] = {
    "laplace": lambda _: laws.Laplace(),
    "logistic": lambda _: laws.Logistic(),
    "gumbel": lambda _: laws.Gumbel(),  # the map to the data mirrors half of them
    "student_product": lambda among: laws.Student(among(*map(math.log, FREEDOM_RANGE)).exp()),
    "skew_normal": lambda among: laws.SkewNormal(among(1, 8)),
    "sinh_arcsinh": lambda among: laws.SinhArcsinh(among(-0.8, 0.8), among(0.6, 1.4)),
    "gamma": lambda among: laws.Gamma(among(2.5, 10)),
    "log_normal": lambda among: laws.LogNormal(among(0.3, 0.9)),
    "softplus_normal": lambda among: laws.SoftplusNormal(among(-1, 2), among(0.5, 1.5)),
    "beta": lambda among: laws.Beta(among(2.5, 8), among(2.5, 8)),
    "logit_normal": lambda among: laws.LogitNormal(among(-1, 1), among(0.5, 1.2)),
    "plateau": lambda among: laws.Plateau(among(0.03, 0.3)),
    "generalised_normal": lambda among: laws.GeneralisedNormal(among(4, 8)),
}
ANY = tuple(LAWS)
"""The laws of parts, by default."""


def draw_product(name: str, batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw densities with independent coordinates of one law, a key of LAWS."""

    def among(low: float, high: float) -> Tensor:
        return uniform(low, high, batch, 1, dim, generator=generator)

    product = laws.Product(LAWS[name](among), batch, dim)
    if name in ("beta", "logit_normal"):
        size = torch.full((batch, 1, dim), WIDTH, dtype=torch.float64, device=generator.device)
        return scaled(product, size)
    return product


def draw_any_product(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw densities with independent coordinates of one law, drawn from `parts`."""
    return draw_product(parts[choice(len(parts), generator)], batch, dim, generator)


def draw_groups(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw densities of two or three groups of coordinates, each group of one law."""
    count = min(dim, 2 + choice(2, generator))
    dims = split(dim, count)
    return Joint(tuple(draw_any_product(batch, size, generator, parts) for size in dims), dims)


def split(dim: int, count: int) -> tuple[int, ...]:
    """Split the coordinates into groups of nearly equal sizes."""
    return tuple(dim // count + (group < dim % count) for group in range(count))


def gaussian(batch: int, dim: int) -> Density:
    """Return standard normal densities."""
    return laws.Product(laws.Normal(), batch, dim)


def scaled(own: Density, size: Tensor) -> Affine:
    """Scale the coordinates of a density by size (B, 1, D)."""
    return Affine(own, size[:, 0].diag_embed(), torch.zeros_like(size[:, 0]))


def standardised(own: Density, generator: torch.Generator) -> Affine:
    """Shift and scale each coordinate such that a sample of the density has mean 0 and deviation 1."""
    sample = own.sample(SAMPLE, generator=generator)
    size = 1 / sample.std(1)
    return Affine(own, size.diag_embed(), -sample.mean(1) * size)


def log_weights(batch: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw the log-weights of components (B, count), in the published range."""
    weights = uniform(*WEIGHT_RANGE, batch, count, generator=generator)
    return (weights / weights.sum(-1, keepdim=True)).log()
