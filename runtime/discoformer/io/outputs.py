"""Output conversion: answers come in the data frame library of the queries, otherwise as they are.

No data frame library is imported here. If the caller passes a data frame, its library is already imported.
"""

import sys
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from discoformer.io.inputs import AnyFloats


class PandasFrame(Protocol):
    """A DataFrame of pandas, for type checkers, which may not know pandas."""

    @property
    def iloc(self) -> Any:
        """Rows by position."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""


class PolarsFrame(Protocol):
    """A DataFrame of polars, for type checkers, which may not know polars."""

    @property
    def height(self) -> int:
        """Number of rows."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""


class Tensor(Protocol):
    """A tensor of PyTorch, CuPy or JAX, for type checkers. NumPy arrays are of this type, too."""

    @property
    def device(self) -> Any:
        """Where it is."""

    def __dlpack__(self) -> Any:
        """Share its memory."""


TensorT = TypeVar("TensorT", bound=Tensor)


def like(queries: Any, name: str, values: AnyFloats, picked: Sequence[int] | None = None) -> Any:
    """Convert an answer to the data frame library of the queries.

    Args:
        queries: The queries as the caller passed them, M rows and D columns.
        name: Name of the answer, used for a Series.
        values: The answer (M,), or (M, D) if it has one value for each entry of the queries.
        picked: Positions (D,) of the columns that were read; by default all of them.

    Returns:
        If the queries are a pandas DataFrame, a Series (M,) or DataFrame (M, D) with the same index, and the
        columns that were read. If they are a polars DataFrame, a Series or DataFrame with these columns.
        Otherwise ``values`` itself.
    """
    pandas, polars = _libraries(queries)
    order = slice(None) if picked is None else list(picked)
    if pandas:
        if values.ndim == 1:
            return pandas.Series(values, index=queries.index, name=name)
        return pandas.DataFrame(values, index=queries.index, columns=queries.columns[order])
    if polars:
        if values.ndim == 1:
            return polars.Series(name, values)
        return polars.DataFrame(values, schema=queries[:, order].columns, orient="row")
    return values


def replaced(rows: Any, values: AnyFloats, picked: Sequence[int] | None) -> Any:
    """Return a data frame with other values (M, D) in the columns that were read.

    Args:
        rows: The rows as the caller passed them.
        values: The new values.
        picked: Positions (D,) of their columns; None for all.

    Returns:
        A pandas or polars DataFrame with all columns of ``rows``, or ``values`` itself for other rows.
    """
    pandas, polars = _libraries(rows)
    positions = range(values.shape[1]) if picked is None else picked
    if pandas:
        filled = rows.copy()
        for j, column in zip(positions, values.T, strict=True):
            filled.isetitem(j, column)
        return filled
    if polars:
        return rows.with_columns(
            polars.Series(rows.columns[j], column) for j, column in zip(positions, values.T, strict=True)
        )
    return values


def _libraries(data: Any) -> tuple[Any, Any]:
    """Return pandas if the data are a DataFrame of it, else None, and polars likewise."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    return (
        pandas if isinstance(data, getattr(pandas, "DataFrame", ())) else None,
        polars if isinstance(data, getattr(polars, "DataFrame", ())) else None,
    )
