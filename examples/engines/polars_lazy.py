"""Log-densities of the rows of Parquet files, by Polars, in bounded memory.

    pip install './[cpu,polars]'
    python polars_lazy.py petals.estimate rows.parquet answers.parquet

The first argument is what Estimate.save or estimate_groups wrote; the last is the file to write.
"""

import sys

import polars

from discoformer.engines.polars import answer
from discoformer.scorer import Scorer

saved, rows, out = sys.argv[1:]
answer(polars.scan_parquet(rows), Scorer(saved)).sink_parquet(out)
