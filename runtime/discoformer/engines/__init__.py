"""Engines that spread the rows of a table over processes or machines: Ray Data, Spark, Dask, Polars, DuckDB.

Each module adds the answers of a ``discoformer.scorer.Scorer`` to a table of its engine, lazily. Rows, other
columns and their order stay as they are. Each worker opens the saved file once, so the file must lie where
every worker can read it, and the package must be installed there.
"""
