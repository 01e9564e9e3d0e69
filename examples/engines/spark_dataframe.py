"""Log-densities of the rows of Parquet files, by Spark.

    pip install './[cpu,spark]'
    python spark_dataframe.py petals.estimate rows.parquet answers

The first argument is what Estimate.save or estimate_groups wrote; the last is the folder to write.
"""

import sys

from pyspark.sql import SparkSession

from discoformer.engines.spark import answer
from discoformer.scorer import Scorer

saved, rows, out = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
answer(spark.read.parquet(rows), Scorer(saved)).write.parquet(out)
