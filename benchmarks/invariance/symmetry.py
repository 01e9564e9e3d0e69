"""Exact symmetries of a released model, on many samples of all kinds and sizes.

A case is a sample of one family, with D from 1 to 40 columns and N from max(8, 4 D) to 4,096 rows, a random
map x -> x A + b of condition 1 to 1,000, and an order of the rows. Every fourth map is a permutation of the
columns. Its errors are the greatest values, over fresh queries, of

    |T(XA + b) + log|det A| - T(X)|    and    |S(XA + b) A^T - S(X)| / rms |S(X)|

    python -m benchmarks.invariance.symmetry            # 2,000 cases: best and fast take turns
"""

from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

import discoformer
from benchmarks.common.report import load_model, markdown
from benchmarks.invariance.equivariance import random_map
from discoformer.onnx.names import Effort

QUERIES = 64
MOST_COLUMNS, FEWEST_ROWS, MOST_ROWS = 40, 8, 4096
CONDITION = 1e3
PROMISED = 1e-4  # nats
PROMISED_SCORE = 1e-3  # of the root mean square of the score
WORST_SHOWN = 10

Floats = NDArray[np.float64]


class Case(NamedTuple):
    """A sample, queries, and a map of both."""

    index: int
    family: str
    effort: Effort
    sample: Floats  # (N, D)
    queries: Floats  # (M, D)
    linear: Floats  # (D, D) A
    shift: Floats  # (D,) b
    order: NDArray[np.intp]  # (N,) of the rows


class Errors(NamedTuple):
    """How far the answers to a case are from its symmetry."""

    log_density: float  # nats
    score: float  # relative to the root mean square of the score


def draw_family(rng: np.random.Generator, family: str, rows: int, dim: int) -> Floats:
    """Draw points (rows, D) of a family."""
    if family == "gaussian":
        return rng.normal(size=(rows, dim))
    if family == "student":
        return rng.normal(size=(rows, dim)) / np.sqrt(rng.chisquare(3, size=(rows, 1)) / 3)
    if family == "laplace":
        return rng.laplace(size=(rows, dim))
    if family == "uniform":
        return rng.uniform(size=(rows, dim))
    modes = rng.normal(size=(3, dim)) * 4
    return modes[rng.integers(3, size=rows)] + rng.normal(size=(rows, dim))


FAMILIES = ("gaussian", "student", "laplace", "uniform", "mixture")


def draw_case(index: int, most_rows: int = MOST_ROWS) -> Case:
    """Draw the case of an index: sizes and condition are spread evenly on a logarithmic scale."""
    rng = np.random.default_rng([26, index])
    dim = round(np.exp(rng.uniform(0, np.log(MOST_COLUMNS))))
    fewest = max(FEWEST_ROWS, 4 * dim)
    rows = round(np.exp(rng.uniform(np.log(fewest), np.log(max(fewest, most_rows)))))
    family = FAMILIES[index % len(FAMILIES)]
    drawn = draw_family(rng, family, rows + QUERIES, dim)
    linear = random_map(rng, dim, CONDITION ** rng.uniform())
    shift = rng.normal(size=dim)
    if index % 4 == 3:
        linear, shift = np.eye(dim)[rng.permutation(dim)], np.zeros(dim)
    effort: Effort = "best" if index % 2 else "fast"
    return Case(index, family, effort, drawn[:rows], drawn[rows:], linear, shift, rng.permutation(rows))


def errors_of(model: discoformer.Model, case: Case) -> Errors:
    """Return how far the answers to a case are from its symmetry."""
    plain = model.estimate(case.sample, effort=case.effort)
    log_density, score = plain.log_density_and_score(case.queries)
    mapped = model.estimate(case.sample[case.order] @ case.linear + case.shift, effort=case.effort)
    log_mapped, score_mapped = mapped.log_density_and_score(case.queries @ case.linear + case.shift)
    off = np.linalg.norm(score_mapped @ case.linear.T - score, axis=1)
    return Errors(
        float(np.abs(log_mapped + np.linalg.slogdet(case.linear)[1] - log_density).max()),
        float(off.max() / np.sqrt(np.square(score).sum(1).mean())),
    )


def _broken(errors: Errors) -> bool:
    return errors.log_density > PROMISED or errors.score > PROMISED_SCORE


@click.command()
@click.argument("model", default="base")
@click.option("--cases", default=2000, show_default=True, help="How many cases.")
@click.option("--first", default=0, show_default=True, help="Index of the first case.")
def main(model: str, cases: int, first: int) -> None:
    """Print the worst cases for MODEL, the name or folder of a released model, and fail if one is broken."""
    loaded, found = load_model(model), []
    for index in range(first, first + cases):
        case = draw_case(index)
        found.append((case, errors_of(loaded, case)))
        if _broken(found[-1][1]):
            click.echo(f"case {index}: {found[-1][1]}", err=True)
    found.sort(key=lambda pair: -max(pair[1]))
    rows = [
        [
            str(case.index),
            case.family,
            case.effort,
            f"{case.sample.shape[1]}, {len(case.sample)}",
            f"{np.linalg.cond(case.linear):.3g}",
            f"{errors.log_density:.1e}",
            f"{errors.score:.1e}",
        ]
        for case, errors in found[:WORST_SHOWN]
    ]
    click.echo(markdown(("case", "family", "effort", "D, N", "condition", "log-density", "score"), rows))
    greatest = Errors(*np.max([errors for _, errors in found], axis=0))
    click.echo(f"{cases} cases: at most {greatest.log_density:.1e} nats, {greatest.score:.1e} of the score")
    if _broken(greatest):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
