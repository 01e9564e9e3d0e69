"""Threads that do the work of requests, and the room in which requests wait for them.

Each thread answers one request at a time, on one core: sessions of onnxruntime and linear algebra start no
threads of their own. Otherwise each request would start as many threads as there are cores.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TypeVar

from discoformer.serve.limits import Limits
from discoformer.serve.refusals import busy

T = TypeVar("T")


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or "max": no quota
        return cores


class Room:
    """The requests that the service holds: those at work and those that wait. It is bounded."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.count = self.bytes = 0
        self._lock = Lock()

    def enter(self, size: int) -> None:
        """Let in a request of a size in bytes.

        Raises:
            RequestError: There is no room.
        """
        with self._lock:
            if self.count >= self.most or self.bytes + size > self.most_bytes:
                raise busy(f"{self.count} requests are at work or wait: send the request again later")
            self.count += 1
            self.bytes += size

    def leave(self, size: int) -> None:
        """Let out a request of a size in bytes."""
        with self._lock:
            self.count -= 1
            self.bytes -= size


class Workers:
    """A fixed number of threads.

    Args:
        threads: How many.
        limits: Limits of the service.
    """

    def __init__(self, threads: int, limits: Limits) -> None:
        self.threads = threads
        self.room = Room(threads + limits.waiting, limits.held)
        self._pool = ThreadPoolExecutor(threads, "discoformer-serve")

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have a thread do some work."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Wait until all work is done."""
        self._pool.shutdown()
