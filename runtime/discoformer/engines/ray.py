"""Ray Data: a pool of actors, each with as many CPUs as the scorer has threads. Needs the extra ``[ray]``."""

from typing import Any

from discoformer.errors import require
from discoformer.scorer import Scorer


class _Worker:
    """An actor, which has a scorer."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, table: Any) -> Any:
        return self._scorer(table)


def answer(dataset: Any, scorer: Scorer, workers: int = 1, batch_size: int = 8192) -> Any:
    """Add the answers of a scorer to a dataset.

    Args:
        dataset: A ``ray.data.Dataset``.
        scorer: The scorer. Each worker takes ``scorer.threads`` CPUs of the cluster.
        workers: Most actors. One that dies is started again, and its batches are repeated. Reading needs a
            CPU, too: a cluster whose CPUs are all taken by actors waits for ever.
        batch_size: Rows of a batch.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    data = require("ray.data")
    found = dataset.map_batches(
        _Worker,
        fn_constructor_args=(scorer,),
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=scorer.threads,
        udf_modifying_row_count=False,
    )
    found.context.execution_options.preserve_order = True
    return found
