"""Log-densities of the rows of Parquet files, by Dask.

    pip install './[cpu,dask]'
    python dask_dataframe.py petals.estimate rows.parquet answers

The first argument is what Estimate.save or estimate_groups wrote; the last is the folder to write.
"""

import sys

import dask
import dask.dataframe
from dask.distributed import Client

from discoformer.engines.dask import answer
from discoformer.scorer import Scorer

if __name__ == "__main__":
    saved, rows, out = sys.argv[1:]
    dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None})  # for speed
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):
        answer(dask.dataframe.read_parquet(rows), Scorer(saved)).to_parquet(out)
