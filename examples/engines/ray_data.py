"""Log-densities of the rows of Parquet files, by Ray Data.

    pip install './[cpu,ray]'
    python ray_data.py petals.estimate rows.parquet answers

The first argument is what Estimate.save or estimate_groups wrote; the last is the folder to write.
"""

import sys

import ray

from discoformer.engines.ray import answer
from discoformer.scorer import Scorer

saved, rows, out = sys.argv[1:]
ray.init()
workers = max(1, int(ray.cluster_resources()["CPU"]) - 1)  # one CPU is left for reading
answer(ray.data.read_parquet(rows), Scorer(saved), workers).write_parquet(out)
