"""Draws tasks on the CPU ahead of their steps: in a thread beside them, or in any number of processes.

Drawing a task may take longer than learning from it: so it may be learned from several times.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from threading import Thread

import torch
from torch import Tensor

from discoformer_training.data.stream import Task

ENVIRONMENT = {  # one thread; with glibc, memory that is kept: taking it anew is a tenth of the time
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
AHEAD = 64  # steps whose tasks each process may have drawn in advance: some take a minute


class Ahead:
    """Draws the tasks of the coming steps while the present one is learned from.

    Args:
        draw: gives a task by its number; nothing depends on when or where it is called.
        workers: processes that draw, of one thread each; without any, a thread here draws one task ahead.
        uses: steps that learn from each task.
        again_after: new tasks between two uses of one. A run begins with so many new tasks; then new ones
            take turns with old ones, which are kept in memory until their last step.
    """

    def __init__(
        self, draw: Callable[[int], Task], workers: int = 0, uses: int = 1, again_after: int = 1
    ) -> None:
        self._draw = partial(_as_arrays, draw)
        others = active_children()
        self._pool: Executor = _processes(workers) if workers else ThreadPoolExecutor(1, "stream")
        self._workers = [process for process in active_children() if process not in others]
        self._steps = max(1, AHEAD * workers)
        self._uses = uses
        self._again_after = again_after
        self._drawn: dict[int, Future[Task]] = {}

    def __call__(self, step: int) -> Task:
        """Return the task of a step, and begin to draw those after it."""
        coming = [self.number(step + ahead) for ahead in range(self._steps + 1)]
        for number in coming:
            if number not in self._drawn:
                self._drawn[number] = self._pool.submit(self._draw, number)
        task = self._drawn[coming[0]].result().each(torch.from_numpy)
        self._drawn = {number: task for number, task in self._drawn.items() if self._last(number) > step}
        return task

    def number(self, step: int) -> int:
        """The number of the task that a step learns from."""
        times = 1  # uses that take turns, one more after again_after turns
        while times < self._uses and step >= times * self._again_after:
            step -= times * self._again_after
            times += 1
        turn, time = divmod(step, times)
        return turn + (times - 1 - time) * self._again_after

    def _last(self, number: int) -> int:
        """The last step that learns from a task."""
        before = self._again_after * self._uses * (self._uses - 1) // 2
        return before + (number + 1) * self._uses - 1

    def close(self) -> None:
        """End the thread, or the processes whatever they have in hand."""
        for process in self._workers:  # a pool waits for those that still live when one has died
            process.kill()
        self._pool.shutdown(cancel_futures=True)


def _as_arrays(draw: Callable[[int], Task], number: int) -> Task:
    """Draw a task of NumPy arrays, which travel as bytes between processes; each tensor would be a file."""
    return draw(number).each(Tensor.numpy)


def _processes(workers: int) -> ProcessPoolExecutor:
    """Start processes of one thread each, which end with this one."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin)
    with _environment(ENVIRONMENT):  # read as a process starts
        for _ in range(workers):  # each starts one, long before the first is ready for more
            pool.submit(int)
    return pool


def _begin() -> None:
    """Leave signals, which a whole group gets, to the parent; end when it does."""
    torch.set_num_threads(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.pop(name, None) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
