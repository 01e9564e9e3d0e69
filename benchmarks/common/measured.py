"""Time, CPU seconds and memory of a program with all processes that it starts. Linux only."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

_EVERY = 0.5  # seconds between two looks


class Measured(NamedTuple):
    """What a program took."""

    seconds: float
    cpu: float  # seconds of all processes
    peak: float  # MB of all processes at the same time, with shared memory counted once
    output: str


class _Watch(threading.Thread):
    """Looks at the processes of a program until it ends."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(process)
        self.cpu: dict[int, float] = {}  # seconds by process id, as last seen
        self.peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(_EVERY):
            with suppress(psutil.Error):
                self.look([self.root, *self.root.children(recursive=True)])

    def look(self, processes: Sequence[psutil.Process]) -> None:
        memory = 0
        for process in processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                memory += process.memory_full_info().pss
        self.peak = max(self.peak, memory)


def measured(module: str, *arguments: object, env: dict[str, str] | None = None) -> Measured:
    """Run a module as a program, and measure it.

    Raises:
        CalledProcessError: It ends with an error.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        watch = _Watch(process.pid)
        watch.start()
        output, _ = process.communicate()
        seconds = time.perf_counter() - start
        watch.over.set()
        watch.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Measured(seconds, sum(watch.cpu.values()), watch.peak / 2**20, output)
