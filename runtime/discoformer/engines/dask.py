"""Dask: partitions, which are DataFrames of pandas. Needs the extra ``[dask]``.

A worker of Dask may have several threads, each with a partition of its own. They share what the scorer has
opened, so a scorer should have one thread.

Dask sets MALLOC_TRIM_THRESHOLD_ for its workers. On Linux, large arrays then come from the system anew each
time, which makes answers of effort "fast" twice as slow. Before the workers start, unset it::

    dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None})
"""

from typing import Any

from discoformer.scorer import Scorer


def answer(frame: Any, scorer: Scorer) -> Any:
    """Add the answers of a scorer to a DataFrame of Dask, by ``map_partitions``."""
    meta = frame._meta.assign(**dict.fromkeys(scorer.output_names, 0.0))
    return frame.map_partitions(_answered, scorer, meta=meta)


def _answered(part: Any, scorer: Scorer) -> Any:
    return part.assign(**dict(zip(scorer.output_names, scorer.answer(part).T, strict=True)))
