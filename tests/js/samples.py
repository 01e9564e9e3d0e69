"""Samples of many kinds and sizes, which Python and JavaScript both read."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SIZES = (
    (2, 1),
    (40, 1),
    (3000, 1),
    (5, 2),
    (64, 2),
    (512, 2),
    (2048, 2),
    (100, 3),
    (30, 10),
    (41, 10),
    (300, 10),
)
WIDE = ((20, 30), (119, 30), (400, 30), (170, 45), (400, 45))


class Case(NamedTuple):
    """A sample and how it is read."""

    name: str
    points: Floats  # (N, D)
    weights: Floats | None = None  # (N,)
    options: Mapping[str, Any] = MappingProxyType({})  # by their names in Python


def cases(seed: int) -> Iterator[Case]:
    """Draw samples: smooth and clustered, heavy tails, weights, rounded values."""
    rng = np.random.default_rng(seed)
    for n, dim in (*SIZES, *WIDE):
        size, mix = f"{n} x {dim}", rng.normal(size=(dim, dim))
        centres = 6 * rng.normal(size=(3, dim))
        yield Case(f"normal {size}", rng.normal(size=(n, dim)) @ mix + 10 * rng.normal(size=dim))
        yield Case(f"clusters {size}", centres[rng.integers(3, size=n)] + rng.normal(size=(n, dim)))
        yield Case(f"heavy tails {size}", rng.standard_t(2, size=(n, dim)) @ mix)
        yield Case(f"weights {size}", rng.normal(size=(n, dim)), rng.gamma(0.5, size=n))
        if n > dim + 1 and (n, dim) != (5, 2):  # rounded values of few rows may be collinear
            yield Case(f"rounded {size}", np.round(3 * rng.normal(size=(n, dim)), 1))
    yield from contaminated(rng)


def contaminated(rng: np.random.Generator) -> Iterator[Case]:
    """Draw samples with rows far out, copies, atoms, codes, few values, and with options."""
    points = rng.normal(size=(300, 2))
    tenths = points.round(1) + 0.0  # no -0, which is another value to some
    far = np.r_[np.full((3, 2), 1e7), points[3:]]
    yield Case("rows far out", far)
    yield Case("rows far out, weights", far, rng.random(300) + 0.1)
    yield Case("bootstrap", points[rng.integers(300, size=300)])
    yield Case("copies", np.r_[points, points])
    yield Case("an atom", np.r_[points, np.c_[np.zeros(60), rng.normal(size=60)]])
    yield Case("an atom on a line", np.r_[rng.gamma(1, size=(280, 1)), np.zeros((120, 1))])
    yield Case("an atom, rounded", np.r_[tenths / 10, np.c_[np.zeros(99), rng.normal(size=99).round(2)]])
    yield Case("categories", np.c_[rng.integers(3, size=300), points[:, 0]].astype(float))
    yield Case("few values", np.c_[rng.choice([0.1234, 0.3337, 0.9123], size=300), points[:, 0]])
    yield Case("a code", np.r_[points, np.full((10, 2), -999.0)])
    yield Case("units", points * [1e-7, 1e9] + [3, 1e12])
    yield Case("Cauchy", rng.standard_cauchy(size=(500, 2)))
    yield Case("of float32", points.astype(np.float32).round(1).astype(float))
    yield Case("rounded, weights", np.round(rng.normal(size=(700, 3)), 1), rng.random(700))
    yield Case("one column rounded", np.c_[points[:, 0].round(1), points[:, 1]])
    yield Case("effective size", points, None, {"effective_size": 50})
    yield Case("too large an effective size", points[:30], None, {"effective_size": 5000})
    yield Case("landmarks", points, None, {"landmarks": 100})
    yield Case("many landmarks", rng.normal(size=(1500, 2)), None, {"landmarks": 1200})
    yield Case("very heavy tails", rng.standard_cauchy(size=(600, 3)) ** 3, None, {"rounding": None})
    yield Case("a total", np.c_[tenths, tenths.sum(axis=1)])
    yield Case("rounding off", tenths, None, {"rounding": None})
    yield Case("rounding given", tenths, None, {"rounding": {0: 0.5}})


def queries_of(points: Floats, seed: int) -> Floats:
    """Draw queries (43, D) or fewer: rows of the sample, points around them, and points far out."""
    rng = np.random.default_rng(seed)
    center, spread = np.median(points, axis=0), points.std(axis=0)
    near, far = (rng.normal(size=(k, points.shape[1])) * spread for k in (20, 3))
    return np.r_[points[:20], center + 2 * near, center + 100 * far]
