"""DuckDB: a function of SQL. Needs the extra ``[duckdb]``.

DuckDB calls it with 2,048 rows at a time, in one thread at a time.
"""

from inspect import Parameter, Signature
from typing import Any

from discoformer.errors import InputError, require
from discoformer.scorer import Scorer


def register(connection: Any, scorer: Scorer, name: str | None = None) -> None:
    """Add a scorer to a connection as a function of SQL.

    Its arguments are the columns of the scorer, in their order::

        register(connection, Scorer("petals.estimate", ("length", "width")))
        connection.sql("SELECT *, discoformer_log_density(length, width) FROM petals")

    For saved groups, the keys come before them, as text: ``discoformer_log_density(id::VARCHAR, x, y)``.

    Args:
        connection: A connection of DuckDB.
        scorer: The scorer, with one output: ``"log_density"`` or ``"density"``.
        name: Name of the function; by default ``discoformer_`` and the output.

    Raises:
        InputError: The scorer has other outputs.
        MissingExtraError: PyArrow is not installed.
    """
    if len(scorer.outputs) != 1 or scorer.outputs[0] == "score":
        raise InputError(f"outputs must be ('log_density',) or ('density',), got {scorer.outputs!r}")
    arrow, names = require("pyarrow"), (*scorer.keys, *scorer.names)

    def answered(*columns: Any) -> Any:
        return arrow.array(scorer.answer(arrow.table(columns, names=list(names)))[:, 0])

    parameters = [Parameter(f"x{j}", Parameter.POSITIONAL_ONLY) for j in range(len(names))]
    vars(answered)["__signature__"] = Signature(parameters)  # DuckDB counts them
    connection.create_function(
        name or f"discoformer_{scorer.outputs[0]}",
        answered,
        ["VARCHAR"] * len(scorer.keys) + ["DOUBLE"] * len(scorer.names),
        "DOUBLE",
        type="arrow",
    )
