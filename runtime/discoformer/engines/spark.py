"""Spark: Arrow batches in Python workers. Needs the extra ``[spark]``, and Java.

Spark gives a task ``spark.task.cpus`` threads, and NumPy in it as many. The scorer should have as many.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from discoformer.errors import DataWarning, require
from discoformer.groups import estimate_groups
from discoformer.scorer import Scorer, opened_model


def answer(frame: Any, scorer: Scorer) -> Any:
    """Add the answers of a scorer to a DataFrame of Spark, by ``mapInArrow``.

    ``spark.sql.execution.arrow.maxRecordsPerBatch`` is the number of rows of a batch.

    Raises:
        MissingExtraError: PySpark is not installed.
    """

    def answered(batches: Iterable[Any]) -> Iterator[Any]:
        return map(scorer, batches)

    return frame.mapInArrow(answered, _with_doubles(frame, scorer.output_names))


def answer_by_own_group(
    frame: Any, by: Sequence[str], columns: Sequence[str], buckets: int = 200, threads: int = 1
) -> Any:
    """Add the ``log_density`` of each row in its own group, which the workers estimate, by ``applyInArrow``.

    Groups are dealt into buckets, so that a worker reads many of them together, which is much faster.

    Args:
        frame: A DataFrame of Spark.
        by: Names of the columns of keys.
        columns: Names of the columns of the samples.
        buckets: Number of buckets. The rows of a bucket must fit into the memory of a worker.
        threads: CPU threads of the network in a task, as many as ``spark.task.cpus``.

    Raises:
        MissingExtraError: PySpark is not installed.
    """
    functions = require("pyspark.sql.functions")
    by, columns = tuple(by), tuple(columns)

    def answered(table: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # rows without an answer are NaN
            groups = estimate_groups(table, by, columns, model=opened_model(threads=threads))
            return table.append_column("log_density", [groups.log_density(table)])

    bucket = functions.pmod(functions.hash(*by), functions.lit(buckets))
    return frame.groupBy(bucket).applyInArrow(answered, _with_doubles(frame, ("log_density",)))


def _with_doubles(frame: Any, names: Sequence[str]) -> Any:
    """Return the schema of a DataFrame with further columns of numbers."""
    types = require("pyspark.sql.types")
    return types.StructType([*frame.schema, *(types.StructField(name, types.DoubleType()) for name in names)])
