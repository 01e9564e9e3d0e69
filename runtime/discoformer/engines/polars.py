"""Polars: a LazyFrame, in memory or streamed. Needs the extra ``[polars]``.

Polars calls Python in one thread at a time, so give the scorer all threads that you want.
"""

from typing import Any

from discoformer.errors import require
from discoformer.scorer import Scorer


def answer(frame: Any, scorer: Scorer) -> Any:
    """Add the answers of a scorer to a LazyFrame, by ``map_batches``.

    ``collect(engine="streaming")`` and ``sink_parquet`` hold a few batches in memory at a time.

    Raises:
        MissingExtraError: Polars is not installed.
    """
    polars, names = require("polars"), scorer.output_names

    def answered(batch: Any) -> Any:
        return batch.with_columns(map(polars.Series, names, scorer.answer(batch).T))

    schema = {**frame.collect_schema(), **dict.fromkeys(names, polars.Float64)}
    return frame.map_batches(answered, schema=schema, streamable=True)
