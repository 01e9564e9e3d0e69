"""Log-densities of the rows of Parquet files, in SQL of DuckDB. This one knows the columns, length and width.

    pip install './[cpu,duckdb]'
    python duckdb_sql.py petals.estimate rows.parquet answers.parquet

The first argument is what Estimate.save wrote; the last is the file to write.
"""

import sys

import duckdb

from discoformer.engines.duckdb import register
from discoformer.scorer import Scorer

saved, rows, out = sys.argv[1:]
connection = duckdb.connect()
register(connection, Scorer(saved))
answers = f"SELECT *, discoformer_log_density(length, width) AS log_density FROM '{rows}'"
connection.execute(f"COPY ({answers}) TO '{out}' (FORMAT parquet)")
