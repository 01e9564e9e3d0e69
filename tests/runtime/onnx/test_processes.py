"""One model in several threads and processes (fork, spawn, joblib) gives the same answers in each."""

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import joblib
import numpy as np
import pytest

import discoformer
from discoformer.io.inputs import Floats

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning"
)  # forking a process with threads warns


@pytest.fixture(scope="module")
def released() -> discoformer.Model:
    """A model whose sessions use two threads, since a fork loses threads."""
    return discoformer.load("base", device="cpu", threads=2)


@pytest.fixture(scope="module")
def estimate(released: discoformer.Model) -> discoformer.Estimate:
    return released.estimate(np.random.default_rng(0).normal(size=(60, 2)))


QUERIES = np.random.default_rng(1).normal(size=(8, 30, 2))


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_worker_processes_answer_alike(estimate: discoformer.Estimate, start: str) -> None:
    expected = [estimate.log_density(y) for y in QUERIES]  # starts the threads of the parent
    with ProcessPoolExecutor(2, mp_context=get_context(start)) as pool:
        for got, want in zip(pool.map(estimate.log_density, QUERIES), expected, strict=True):
            np.testing.assert_array_equal(got, want)


def test_joblib_workers_answer_alike(estimate: discoformer.Estimate) -> None:
    expected = [estimate.score(y) for y in QUERIES]
    got = joblib.Parallel(2)(joblib.delayed(estimate.score)(y) for y in QUERIES)
    np.testing.assert_array_equal(got, expected)


def test_a_worker_may_estimate_too(released: discoformer.Model) -> None:
    """Some servers load the model before they fork."""
    released.estimate(QUERIES[0])
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        found = list(pool.map(released.estimate, QUERIES[:3]))
    for p, x in zip(found, QUERIES, strict=False):
        np.testing.assert_array_equal(p.log_density(x), released.estimate(x).log_density(x))


@pytest.mark.parametrize("kept", [True, False])
def test_a_forked_child_ends_by_itself(kept: bool) -> None:
    """A child of a process with a loaded model exits with its own status."""
    code = (
        "import os, signal, sys, numpy, discoformer\n"
        "x = numpy.random.default_rng(0).normal(size=(60, 2))\n"
        "p = discoformer.load('base', 'cpu', 2).estimate(x)\n"
        "expected = p.score(x)\n"
        f"if not {kept}: del p\n"
        "child = os.fork()\n"
        "signal.alarm(60)\n"  # a process that hangs is killed, and has another status
        f"same = not {kept} or (p.score(x) == expected).all()\n"
        "if child == 0: sys.exit(7 if same else 1)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "sys.exit(0 if same and status == 7 else 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_pickle_names_the_model_and_opens_it_when_it_is_needed(released: discoformer.Model) -> None:
    copy = pickle.loads(pickle.dumps(released))
    assert len(pickle.dumps(released)) < 5000
    assert copy.graphs.files("best")._opened is None
    assert (copy.metadata, copy.folder, copy.device) == (released.metadata, released.folder, "cpu")
    x = QUERIES[0]
    np.testing.assert_array_equal(copy.estimate(x).log_density(x), released.estimate(x).log_density(x))


def test_copies_share_their_sessions(released: discoformer.Model) -> None:
    """A pool unpickles the estimate for every task: it must not open the model for each."""
    copies = [pickle.loads(pickle.dumps(released)) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        assert (
            len(
                {id(opened) for opened in pool.map(lambda copy: copy.graphs.files("best").sessions(), copies)}
            )
            == 1
        )


def test_estimates_late_in_the_life_of_the_interpreter() -> None:
    code = (
        "import atexit, numpy, discoformer\n"
        "x = numpy.random.default_rng(0).normal(size=(60, 2))\n"
        "atexit.register(lambda: print(discoformer.estimate(x).log_density(x).shape))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, timeout=120, capture_output=True).stdout == b"(60,)\n"


def test_threads_estimate_and_query_at_once(released: discoformer.Model) -> None:
    def work(index: int) -> Floats:
        x = QUERIES[index % 8] * (1 + index % 3)
        return np.column_stack(released.estimate(x).log_density_and_score(QUERIES[0]))

    expected = [work(index) for index in range(12)]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(work, range(12)), expected, strict=True):
            np.testing.assert_array_equal(got, want)
