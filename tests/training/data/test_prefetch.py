"""Tasks drawn ahead, in a thread or in processes, for one or more steps each, are the right ones."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest
import torch

from discoformer_training.data.prefetch import Prefetcher
from discoformer_training.data.stream import StreamConfig, Task, draw_task

pytestmark = pytest.mark.slow

CONFIG = StreamConfig(dims=(1, 6), context_sizes=(32, 64), tokens=256)


def test_tasks_drawn_ahead_are_those_of_their_steps_in_any_order(same):
    ahead = Prefetcher(lambda step: draw_task(CONFIG, 3, step))
    for step in (0, 1, 2, 7, 8, 2, 2):
        assert same(ahead(step), draw_task(CONFIG, 3, step))
    ahead.close()


@pytest.mark.parametrize(
    ("uses", "numbers"),
    [
        (1, [*range(16)]),
        (2, [0, 1, 2, 3, 0, 4, 1, 5, 2, 6, 3, 7, 4, 8, 5, 9]),
        (3, [0, 1, 2, 3, 0, 4, 1, 5, 2, 6, 3, 0, 7, 4, 1, 8]),
    ],
)
def test_tasks_come_again_so_many_new_ones_later(same, uses, numbers):
    ahead = Prefetcher(lambda number: draw_task(CONFIG, 3, number), uses=uses, again_after=3)
    for step, number in enumerate(numbers):
        assert ahead.number(step) == number
        assert same(ahead(step), draw_task(CONFIG, 3, number))
    ahead.close()


@pytest.mark.parametrize(("uses", "kept"), [(1, 2), (2, 5), (3, 8)])
def test_a_task_is_drawn_once_for_all_its_steps_and_kept_no_longer(uses, kept):
    numbers: list[int] = []

    def draw(number: int) -> Task:
        numbers.append(number)
        return draw_task(CONFIG, 3, number)

    ahead = Prefetcher(draw, uses=uses, again_after=3)
    for step in range(20):
        ahead(step)
        assert len(ahead._drawn) <= kept
    ahead.close()
    assert sorted(numbers) == [*range(max(numbers) + 1)]


def test_a_run_taken_up_in_the_middle_draws_old_tasks_anew(same):
    ahead = Prefetcher(lambda number: draw_task(CONFIG, 3, number), uses=2, again_after=3)
    for step in (8, 9, 10):
        assert same(ahead(step), draw_task(CONFIG, 3, ahead.number(step)))
    ahead.close()


def test_processes_draw_the_same_tasks_on_one_thread_each(monkeypatch: pytest.MonkeyPatch, same):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ahead = Prefetcher(partial(draw_task, CONFIG, 3), workers=2)
    assert not {"OMP_NUM_THREADS", "MALLOC_MMAP_MAX_"} & {*os.environ}
    for step in (0, 1, 5):
        assert same(ahead(step), draw_task(CONFIG, 3, step))
    assert len(ahead._workers) == 2
    for process in ahead._workers if sys.platform == "linux" else ():
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert {b"OMP_NUM_THREADS=1", b"MALLOC_MMAP_MAX_=0"} <= {*environment}
    assert ahead._pool.submit(torch.get_num_threads).result() == 1
    ahead.close()


def test_a_process_that_is_killed_ends_the_run_with_an_error():
    ahead = Prefetcher(partial(draw_task, CONFIG, 3), workers=2)
    ahead(0)
    ahead._workers[0].kill()
    with pytest.raises(BrokenProcessPool):
        [*map(ahead, range(1, 1000))]
    ahead.close()
    assert not any(process.is_alive() for process in ahead._workers)


def is_running(process: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_leave_signals_to_the_parent_and_end_when_it_is_killed():
    code = """
import os, time
from discoformer_training.data.prefetch import _processes

if __name__ == "__main__":
    print(_processes(1).submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGTERM)
        time.sleep(0.2)
        assert is_running(worker)
        parent.kill()
    end = time.monotonic() + 30
    while is_running(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(worker)


def test_a_failed_draw_is_raised_at_its_own_step():
    def draw(step: int) -> Task:
        if step == 1:
            raise ArithmeticError("step 1")
        return draw_task(CONFIG, 3, step)

    ahead = Prefetcher(draw)
    ahead(0)
    with pytest.raises(ArithmeticError, match="step 1"):
        ahead(1)
    ahead.close()
