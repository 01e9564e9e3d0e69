"""Sources of training tasks: drawn on the device, or ahead on the CPU, in a thread or in worker processes.

A task may take longer to draw than to train on, so each task can be used for several steps.
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

ENVIRONMENT = {  # one thread; glibc keeps freed memory, since requesting it again costs a tenth of the time
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
AHEAD = 64  # steps per process that are prefetched: some tasks take a minute


class DeviceStream:
    """Draws each task when it is asked for, on the device that trains.

    Args:
        draw: a function from the number of a task and a device to the task.
        device: the device.
    """

    def __init__(self, draw: Callable[..., Task], device: torch.device) -> None:
        self._draw = draw
        self._device = device

    def __call__(self, step: int) -> Task:
        """Return the task of a step."""
        return self._draw(step, device=self._device)

    def close(self) -> None:
        """Do nothing: no thread or process is held."""


class Prefetcher:
    """Draws the tasks of later steps while the current step trains.

    Args:
        draw: a pure function from the number of a task to the task.
        workers: processes that draw, with one thread each. With 0, a thread of this process draws one task in
            advance.
        uses: steps that use each task.
        again_after: new tasks between two uses of a task. A run starts with this number of new tasks. Then
            new tasks alternate with old ones, which stay in memory until their last use.
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
        """Return the task of a step, and start to draw the tasks of later steps."""
        coming = [self.number(step + ahead) for ahead in range(self._steps + 1)]
        for number in coming:
            if number not in self._drawn:
                self._drawn[number] = self._pool.submit(self._draw, number)
        task = self._drawn[coming[0]].result().each(torch.from_numpy)
        self._drawn = {number: task for number, task in self._drawn.items() if self._last(number) > step}
        return task

    def number(self, step: int) -> int:
        """Return the number of the task that a step uses."""
        times = 1  # uses of a task that alternate at this point of the run
        while times < self._uses and step >= times * self._again_after:
            step -= times * self._again_after
            times += 1
        turn, time = divmod(step, times)
        return turn + (times - 1 - time) * self._again_after

    def _last(self, number: int) -> int:
        """Return the last step that uses a task."""
        before = self._again_after * self._uses * (self._uses - 1) // 2
        return before + (number + 1) * self._uses - 1

    def close(self) -> None:
        """Stop the thread, or kill the processes even if they are busy."""
        for process in self._workers:  # after the death of one process, a pool waits for the others
            process.kill()
        self._pool.shutdown(cancel_futures=True)


def _as_arrays(draw: Callable[[int], Task], number: int) -> Task:
    """Draw a task as NumPy arrays: processes exchange them as bytes, but each tensor as a file."""
    return draw(number).each(Tensor.numpy)


def _processes(workers: int) -> ProcessPoolExecutor:
    """Start processes with one thread each. They end with this process."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin)
    with _environment(ENVIRONMENT):  # a process reads it when it starts
        for _ in range(workers):  # each call starts one process, before the first is idle
            pool.submit(int)
    return pool


def _begin() -> None:
    """Ignore signals, which the parent handles, and end when the parent ends."""
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
    """Set environment variables, and restore them afterwards."""
    before = {name: os.environ.pop(name, None) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
