"""Output conversion: answers come in the data frame library of the queries, otherwise as NumPy arrays.

No data frame library is imported here. If the caller passes a data frame, its library is already imported.
"""

import sys
from typing import Any

from discoformer.io.inputs import AnyFloats


def like(queries: Any, name: str, values: AnyFloats) -> Any:
    """Convert an answer to the data frame library of the queries.

    Args:
        queries: The queries as the caller passed them, M rows and D columns.
        name: Name of the answer, used for a Series.
        values: The answer (M,), or (M, D) if it has one value for each entry of the queries.

    Returns:
        If the queries are a pandas DataFrame, a Series (M,) or DataFrame (M, D) with the same index and
        columns. If they are a polars DataFrame, a Series or DataFrame with the same columns. Otherwise
        ``values`` itself.
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
