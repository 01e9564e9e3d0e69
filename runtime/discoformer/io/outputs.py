"""Answers out: in the data frame library that the queries came in, else as the NumPy arrays they are.

No such library is imported here: whoever holds one of its frames has imported it.
"""

import sys
from typing import Any

from discoformer.io.inputs import AnyFloats


def like(queries: Any, name: str, values: AnyFloats) -> Any:
    """Gives an answer the form of the queries that were asked.

    Args:
        queries: What the caller passed as queries, M rows and D columns.
        name: What the answer is, the name of a series.
        values: The answer (M,), or (M, D) where it has an entry for each column of the queries.

    Returns:
        For a pandas data frame a Series or DataFrame with its index (and columns), for a polars data frame a
        Series or DataFrame (with its columns), for everything else ``values`` itself.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if isinstance(queries, getattr(pandas, "DataFrame", ())):
        return _like_pandas(pandas, queries, name, values)
    if isinstance(queries, getattr(polars, "DataFrame", ())):
        return _like_polars(polars, queries, name, values)
    return values


def _like_pandas(pandas: Any, queries: Any, name: str, values: AnyFloats) -> Any:
    if values.ndim == 1:
        return pandas.Series(values, index=queries.index, name=name)
    return pandas.DataFrame(values, index=queries.index, columns=queries.columns)


def _like_polars(polars: Any, queries: Any, name: str, values: AnyFloats) -> Any:
    if values.ndim == 1:
        return polars.Series(name, values)
    return polars.DataFrame(values, schema=queries.columns, orient="row")
