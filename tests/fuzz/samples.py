"""Samples with weights, queries and options: finite answers that keep the exact symmetries, or a typed error.

The order of the rows changes nothing, to the bit. Other orders and scales of the columns change answers of
continuous samples by rounding alone.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

import discoformer
from discoformer.errors import InputError
from tests.fuzz.common import MODEL, tried

EXACT = 1e-4  # nats, and of the root mean square of the score
Floats = npt.NDArray[np.float64]


@cache
def model() -> discoformer.Model:
    return discoformer.load(MODEL, "cpu", 1)


def scale(rng: np.random.Generator) -> float:
    """Draw a scale: mostly ordinary, sometimes at the edges of float64."""
    return float(10.0 ** (rng.uniform(-3, 3) if rng.random() < 0.8 else rng.uniform(-322, 308)))


def column(rng: np.random.Generator, n: int) -> tuple[Floats, bool]:
    """Draw a column (n,), and whether it is continuous and of ordinary size."""
    kind = rng.integers(12)
    values = rng.normal(size=n)
    if kind < 4:
        return values * 10.0 ** rng.uniform(-3, 3), True
    with np.errstate(all="ignore"):
        found = [
            rng.standard_t(1, n),
            rng.integers(0, 5, n).astype(float),
            np.round(values, rng.integers(3)),
            np.full(n, values[:1].sum()),
            np.where(rng.random(n) < 0.8, 0, values),
            values * scale(rng),
            values + 10.0 ** rng.uniform(0, 18),
            np.where(np.arange(n) == 0, scale(rng), values),
        ][kind - 4]
    return found, False


def table(rng: np.random.Generator) -> tuple[Floats, bool]:
    """Draw a sample (n, D), and whether it is continuous and of ordinary size."""
    n, dim = (
        int(rng.choice([rng.integers(4), rng.integers(2, 12), rng.integers(8, 80)])),
        int(rng.integers(1, 7)),
    )
    columns, plain = zip(*(column(rng, n) for _ in range(dim)), strict=True)
    x, ordinary = np.column_stack(columns), all(plain) and n >= 4 * dim + 4
    change = rng.integers(16)
    if change == 0 and n:  # copies
        return x[rng.integers(n, size=n)], False
    if change == 1:  # a column that depends on others, nearly
        return np.c_[x, x.sum(1) * (1 + rng.choice([0, 1e-15, 1e-9]) * rng.normal(size=n))], False
    if change == 2 and n:  # what is not finite
        x[rng.integers(n), rng.integers(dim)] = rng.choice([np.nan, np.inf, -np.inf])
        return x, False
    if change == 3:  # few rows far out
        return np.where(rng.random((n, 1)) < 0.03, x * scale(rng), x), False
    return x, ordinary


def in_a_form(rng: np.random.Generator, x: Floats) -> Any:
    """Return a sample in one of the forms that a user may pass, mostly as it is."""
    pandas = __import__("pandas")
    mixed, names = x.astype(object), rng.choice(list("abcdefghij"), x.shape[1], rng.random() < 0.2)
    if mixed.size:
        mixed.flat[rng.integers(mixed.size)] = [None, "a", 10**400, 1j, [1]][rng.integers(5)]
    forms: list[Callable[[], Any]] = [
        lambda: x.astype(np.float32),
        lambda: x.astype(np.float16),
        lambda: np.clip(np.nan_to_num(x), -1e18, 1e18).astype(np.int64),
        lambda: x > 0,
        x.tolist,
        lambda: mixed,
        lambda: pandas.DataFrame(x, columns=names),
        lambda: pandas.DataFrame(mixed, columns=names),
        lambda: [None, "text", 3, x[:0], x[0:1], x.ravel(), x[None]][rng.integers(7)],
    ]
    kind = rng.integers(2 * len(forms))
    with np.errstate(all="ignore"):
        return forms[kind]() if kind < len(forms) else x


def some_weights(rng: np.random.Generator, n: int) -> Any:
    """Draw weights of any kind, mostly none."""
    kind = rng.integers(16)
    with np.errstate(all="ignore"):
        found: list[Any] = [
            rng.exponential(size=n),
            rng.integers(0, 3, n),
            np.where(np.arange(n) == 0, 10.0 ** rng.uniform(0, 300), 1),
            10.0 ** rng.uniform(-300, 300, n),
            np.exp(rng.uniform(-40, 0) * np.square(rng.normal(size=n))),
            rng.normal(size=n),
            np.full(n, rng.choice([0, np.nan, np.inf, 1e308, 5e-324])),
            np.ones(n + 1),
        ]
    return found[kind] if kind < len(found) else None


def options(rng: np.random.Generator) -> dict[str, Any]:
    """Draw options of ``estimate``."""
    found: dict[str, Any] = {"effort": "best" if rng.random() < 0.1 else "fast"}
    if rng.random() < 0.5:
        found["allow_singular"] = True
    if rng.random() < 0.2:
        found["missing"] = rng.choice(["drop", "error"])
    if rng.random() < 0.2:
        found["rounding"] = [None, {0: 0.1}, {0: 0}, {0: 1e300}, {9: 1}, "x"][rng.integers(6)]
    if rng.random() < 0.1:
        found["effective_size"] = [1, 1.5, 30, 1e12, 1e300, -1, math.nan, 10**400, "7"][rng.integers(9)]
    if rng.random() < 0.1:
        found["landmarks"] = [1, 2, 10, 10**6, 0, 10**400, 1.5][rng.integers(7)]
    return found


def queries(rng: np.random.Generator, p: discoformer.Estimate) -> Floats:
    """Draw queries (M, D): near the sample and far out."""
    dim = p.diagnostics.dim
    near = p.data.points[rng.integers(len(p.data.points), size=3)]
    with np.errstate(all="ignore"):
        far = near * 10.0 ** rng.uniform(-300, 300, (3, 1))
        found = np.r_[near, far, rng.normal(size=(2, dim)), np.zeros((1, dim))]
    return np.clip(np.nan_to_num(found), -1.7e308, 1.7e308)


def assert_answered(p: discoformer.Estimate, y: Any, may_be_off: bool) -> None:
    log_density, score = p.log_density_and_score(y)
    finite = np.isfinite(log_density) | (may_be_off & np.isneginf(log_density))
    assert finite.all(), f"log-density {log_density}"
    assert np.isfinite(score).all(), f"score {score}"
    assert not np.isnan(p.density(y)).any()


def ask_more(rng: np.random.Generator, p: discoformer.Estimate) -> None:
    """Call one more method."""
    dim, kind = p.diagnostics.dim, rng.integers(7)
    if kind == 0:
        assert np.isfinite(p.sample(3, seed=int(rng.integers(9)), steps=2)).all()
    elif kind == 1:
        assert np.isfinite(p.normalization(16).log_integral)
    elif kind == 2:
        chosen = rng.choice(dim, rng.integers(1, dim + 1), replace=False)
        part = p.marginal([int(j) for j in chosen])
        assert_answered(part, part.data.points[:3], part.is_singular)
    elif kind == 3 and dim > 1:
        given = {0: float(p.data.points[0, 0])}
        found = p.conditional(given)
        assert np.isfinite(found.log_density(p.data.points[:1, 1:])).all()
    elif kind == 4:
        y = p.data.points[:3].copy()
        y[0, 0] = np.nan
        assert np.isfinite(p.impute(y, samples=8)).all()
    elif kind == 6 and p.effort == "fast":
        low, high = (float(rng.choice([-math.inf, -1, 0, 1e300, math.inf])) for _ in range(2))
        assert dim > 1 or 0 <= p.cdf(p.data.points[:1])[0] <= 1 + 1e-9
        assert 0 <= p.box_probability(min(low, high), max(low, high), samples=16)[0] <= 1 + 1e-9
    elif kind == 5:
        assert_answered(p, p.data.points[:3].astype(np.float32), True)


def assert_symmetric(rng: np.random.Generator, x: Floats, w: Any, given: dict[str, Any], exact: bool) -> None:
    """Check the order of the rows and, if ``exact``, order and scales of the columns."""
    order, turn = rng.permutation(len(x)), rng.permutation(x.shape[1])
    y = x[:3]
    log_density, score = model().estimate(x, w, **given).log_density_and_score(y)
    again = model().estimate(x[order], None if w is None else w[order], **given).log_density_and_score(y)
    assert np.array_equal(again[0], log_density), "the order of the rows matters"
    assert np.array_equal(again[1], score), "the order of the rows matters"
    if not exact:
        return
    factor, shift = 10.0 ** rng.uniform(-2, 2, x.shape[1]), rng.normal(size=x.shape[1])
    mapped = model().estimate(x[:, turn] * factor + shift, w, **given)
    log_mapped, score_mapped = mapped.log_density_and_score(y[:, turn] * factor + shift)
    off = np.abs(log_mapped + np.log(factor).sum() - log_density).max()
    assert off < EXACT, f"log-density is off by {off:.1e} nats"
    off = np.abs(score_mapped * factor - score[:, turn]).max() / np.sqrt(np.square(score).mean())
    assert off < EXACT, f"score is off by {off:.1e}"


def check(number: int) -> str:
    """Try the case of a number; return whether it was answered or refused."""
    rng = np.random.default_rng(number)
    x, ordinary = table(rng)
    formed, w, given = in_a_form(rng, x), some_weights(rng, len(x)), options(rng)
    try:
        p = model().estimate(formed, w, **given)
        assert_answered(p, queries(rng, p), p.is_singular)
        ask_more(rng, p)
        if formed is x and rng.random() < 0.3:
            assert_symmetric(rng, x, w, given, ordinary and w is None and len(given) <= 2)
    except InputError as error:
        return type(error).__name__
    return "answered"


run = partial(tried, check)
