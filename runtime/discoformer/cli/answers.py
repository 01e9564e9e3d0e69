"""Answers to queries, block by block: the memory needed does not grow with the number of queries."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from discoformer.cli.output import distinct_columns
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats
from discoformer.io.readers import Rows


def answer_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns of an answer, from the names (D,) of the columns of the queries.

    Raises:
        InputError: Two names are the same.
    """
    return distinct_columns(*names, "log_density", "density", *(f"score_{name}" for name in names))


def answers(found: Estimate, queries: Rows) -> Iterator[AnyFloats]:
    """Answer queries as they are read.

    Args:
        found: The estimate.
        queries: Points, data units; with ``effort="fast"`` cells may be missing, NaN.

    Yields:
        Blocks of rows (n, 2 D + 2): queries, log-density (nats), density, score.

    Raises:
        InputError: The queries do not have the columns of DATA, or a row cannot be read. The answers to all
            rows before that one are yielded first.
    """
    dim = found.diagnostics.dim
    if queries.dim != dim:
        raise InputError(
            f"{queries.name} has {queries.dim} columns, but DATA has {dim}: give the same columns "
            "in the same order"
        )
    missing: Any = "error" if found.effort == "best" else "marginal"
    for block in queries.blocks:
        yield with_answers(block, *found.log_density_and_score(block, missing))


def with_answers(block: AnyFloats, log_density: AnyFloats, score: AnyFloats) -> AnyFloats:
    """Return queries (n, D), their log-density (n,), density and score (n, D), side by side."""
    with np.errstate(over="ignore", under="ignore"):
        return np.column_stack([block, log_density, np.exp(log_density), score])
