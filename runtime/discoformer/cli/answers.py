"""Answers to rows of queries: one block after the other, in memory that does not grow with their number."""

from collections.abc import Iterator, Sequence

import numpy as np

from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.io.inputs import AnyFloats
from discoformer.io.readers import Rows


def answer_columns(names: Sequence[str]) -> tuple[str, ...]:
    """What the columns of an answer are called, from the names (D,) of the columns of the queries.

    Raises:
        InputError: Two would be called the same.
    """
    return distinct(*names, "log_density", "density", *(f"score_{name}" for name in names))


def distinct(*columns: str) -> tuple[str, ...]:
    """The names of the columns of an output.

    Raises:
        InputError: Two are the same.
    """
    double = [name for name in columns if columns.count(name) > 1]
    if double:
        raise InputError(
            f"the output would have more than one column {double[0]!r}: rename that column of DATA, "
            "or leave it out by --columns"
        )
    return columns


def answers(found: Estimate, queries: Rows) -> Iterator[AnyFloats]:
    """Answers queries as they are read.

    Args:
        found: The estimate.
        queries: Points, data units.

    Returns:
        Blocks of rows (n, 2 D + 2): queries, log-density (nats), density, score.

    Raises:
        InputError: The queries have other columns than the context, or a row cannot be read or answered. The
            rows before that one come first.
    """
    dim = found.diagnostics.dim
    if queries.dim != dim:
        raise InputError(
            f"{queries.name} has {queries.dim} columns, where {dim} are needed, those of DATA in their order"
        )
    done = 0
    for block in queries.blocks:
        yield from _answer(found, queries.name, block, done)
        done += len(block)


def _answer(found: Estimate, name: str, block: AnyFloats, done: int) -> Iterator[AnyFloats]:
    """Answers to a block; where one of its points has none, halves it to find out which."""
    try:
        answer = _join(block, *found.log_density_and_score(block))
    except InputError as error:
        if len(block) == 1:
            raise InputError(f"{name}, row {done + 1}, asked alone: {error}") from error
    else:
        yield answer
        return
    half = len(block) // 2
    yield from _answer(found, name, block[:half], done)
    yield from _answer(found, name, block[half:], done + half)


def _join(block: AnyFloats, log_density: AnyFloats, score: AnyFloats) -> AnyFloats:
    with np.errstate(over="ignore", under="ignore"):
        return np.column_stack([block, log_density, np.exp(log_density), score])
