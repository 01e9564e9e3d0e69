"""The log of a run: CSV and TensorBoard files, and a progress bar on the standard error stream."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.loggers.csv_logs import CSVLogger
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich import progress as bars
from rich.console import Console

from discoformer_training.run.checkpoint import Progress

Log = Callable[[Progress, Mapping[str, float]], None]
"""Records metrics, by name, at a point of a run."""


@contextmanager
def open_log(folder: Path, steps: int, start: Progress) -> Iterator[Log]:
    """Open the log of a run.

    Args:
        folder: folder of the files.
        steps: length of the run.
        start: progress before the first step.
    """
    version = time.strftime("%Y%m%d-%H%M%S")
    loggers = (
        CSVLogger(folder, name="csv", version=version, flush_logs_every_n_steps=1),
        TensorBoardLogger(folder, name="tensorboard", version=version),
    )
    columns = (
        bars.TextColumn("step"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[state]}"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps, completed=start.step, state="")

        def log(progress: Progress, metrics: Mapping[str, float]) -> None:
            speed = progress.tokens / progress.seconds
            for logger in loggers:
                logger.log_metrics({**metrics, "tokens_per_s": speed}, progress.step)
            state = f"loss {metrics['smoothed']:.4f}  {speed:,.0f} tokens/s"
            bar.update(task, completed=progress.step, state=state)

        yield log
    for logger in loggers:
        logger.finalize("success")


@contextmanager
def no_log() -> Iterator[Log]:
    """Log nothing: for all processes of a run but the first."""
    yield lambda _progress, _metrics: None
