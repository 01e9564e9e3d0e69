"""Many clients at a time: answers to the bit as those to one, a bounded queue, few threads, little memory."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import discoformer
from tests.serve.service import Service, running, tensor

triton = pytest.importorskip("tritonclient.http")

CLIENTS = 12
CALLS = 25  # of each client


def drawn(iris: np.ndarray, number: int) -> tuple[str, np.ndarray, bool]:
    """A call: a model, queries, and whether they go in binary."""
    rng = np.random.default_rng(number)
    queries = iris[rng.integers(0, len(iris), int(10 ** rng.uniform(0, 3)))] + rng.normal(size=2)
    return ("best", "fast")[number % 2], queries, number % 3 > 0


def ask(client: object, call: tuple[str, np.ndarray, bool]) -> tuple[np.ndarray, np.ndarray]:
    name, queries, binary = call
    given = triton.InferInput("queries", queries.shape, "FP64")
    given.set_data_from_numpy(queries, binary_data=binary)
    wanted = [triton.InferRequestedOutput(key, binary_data=binary) for key in ("log_density", "score")]
    found = client.infer(name, [given], outputs=wanted)  # type: ignore[attr-defined]
    return found.as_numpy("log_density"), found.as_numpy("score")


@pytest.mark.slow
def test_many_clients_get_the_answers_of_one(
    service: Service, estimates: dict[str, discoformer.Estimate], iris: np.ndarray
) -> None:
    def client(number: int) -> int:
        with triton.InferenceServerClient(service.address) as connection:
            for call in (drawn(iris, number * CALLS + i) for i in range(CALLS)):
                got = ask(connection, call)
                expected = estimates[call[0]].log_density_and_score(call[1])
                for one, other in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
        return CALLS

    before, threads = service.memory(), service.threads()
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(client, range(CLIENTS))) == CLIENTS * CALLS
    assert service.memory() - before < 300
    assert service.threads() <= threads + 2  # those of the pool, which start with the first requests


@pytest.mark.slow
def test_many_clients_read_samples_at_a_time(
    service: Service, model: discoformer.Model, iris: np.ndarray
) -> None:
    def client(number: int) -> None:
        x = np.random.default_rng(number).normal(size=(2, 30 + number, 2))
        body = {"inputs": [tensor("context", x), tensor("queries", x[:, :5])]}
        status, answer = service.infer("base", body)
        assert status == 200
        expected = np.stack([p.log_density(x[i, :5]) for i, p in enumerate(model.estimate_batch(list(x)))])
        np.testing.assert_array_equal(answer["outputs"][0]["data"], expected.ravel())

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(2 * CLIENTS)))


def test_a_service_of_one_thread_uses_one_core(
    files: dict[str, Path], iris: np.ndarray, rng: np.random.Generator
) -> None:
    """No session and no linear algebra has threads of its own, whatever the number of cores."""
    x = rng.normal(size=(1, 1000, 20))
    with running("base", str(files["best"]), "--threads", "1", OMP_NUM_THREADS="") as service:
        before = ticks(service)
        for name, body in (
            ("best", {"inputs": [tensor("queries", np.resize(iris, (4000, 2)))]}),
            ("base", {"inputs": [tensor("context", x), tensor("queries", x)]}),
        ):
            assert service.infer(name, body)[0] == 200
        used = {thread: count - before.get(thread, 0) for thread, count in ticks(service).items()}
        assert max(used.values()) > 0.9 * sum(used.values())


def ticks(service: Service) -> dict[str, int]:
    """The processor time of each thread."""
    found = {}
    for path in Path(f"/proc/{service.process.pid}/task").iterdir():
        entries = (path / "stat").read_text().rpartition(")")[2].split()
        found[path.name] = int(entries[11]) + int(entries[12])
    return found


def test_a_full_queue_says_when_to_come_again(files: dict[str, Path], iris: np.ndarray) -> None:
    body = {"inputs": [tensor("queries", np.resize(iris, (20_000, 2)))]}
    with (
        running(str(files["best"]), "--threads", "1", "--queue", "1") as service,
        ThreadPoolExecutor(6) as pool,
    ):

        def send(_: int) -> int:
            status, answer = service.infer("best", body)
            assert status == 200 or "requests are at work or wait: send the request again" in answer["error"]
            return status

        statuses = list(pool.map(send, range(6)))
        assert statuses.count(200) >= 2
        assert set(statuses) == {200, 503}
        slow = pool.submit(send, 0), pool.submit(send, 0)
        service.wait_until_held(2)
        status, _, headers = service.ask("POST", "/v2/models/best/infer", b"{}")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert service.ask("GET", "/v2/health/live")[0] == 200
        assert [one.result() for one in slow] == [200, 200]
        assert service.infer("best", body)[0] == 200
        text = service.ask("GET", "/metrics")[1].decode()
        assert 'discoformer_requests_total{model="best",status="503"}' in text


def test_a_request_that_takes_too_long_is_given_up(files: dict[str, Path], iris: np.ndarray) -> None:
    long = {"inputs": [tensor("queries", np.resize(iris, (120_000, 2)))]}
    with (
        running(str(files["best"]), "--threads", "1", "--timeout", "1") as service,
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(service.infer, "best", long)
        time.sleep(0.5)
        begun = time.monotonic()
        status, answer = service.infer("best", {"inputs": [tensor("queries", iris)]})
        assert time.monotonic() - begun < 4
        assert (status, answer.get("error", "")[:36]) in (
            (503, "no thread was free within the 1 s of"),  # it waited behind the first
            (200, ""),  # the first was given up in time
        )
        status, answer = first.result()
        assert status == 413
        assert "longer than the 1 s of --timeout" in answer["error"]
        end = time.monotonic() + 30
        while service.infer("best", {"inputs": [tensor("queries", iris[:1])]})[0] != 200:
            assert time.monotonic() < end, "its thread is not free again"


def test_the_work_of_a_client_that_goes_away_is_given_up(files: dict[str, Path], iris: np.ndarray) -> None:
    body = json.dumps({"inputs": [tensor("queries", np.resize(iris, (120_000, 2)))]}).encode()
    head = f"POST /v2/models/best/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with running(str(files["best"]), "--threads", "1") as service:
        with service.connect() as connection:
            connection.sendall(head + body)
            time.sleep(1)
        begun = time.monotonic()
        assert service.infer("best", {"inputs": [tensor("queries", iris)]})[0] == 200
        assert time.monotonic() - begun < 4  # all of it takes ten seconds
        assert any(line.get("status") == 499 for line in service.lines)


@pytest.mark.slow
def test_merged_requests_get_their_own_answers(
    files: dict[str, Path], estimates: dict[str, discoformer.Estimate], iris: np.ndarray
) -> None:
    """Together they are far faster; each client gets its own rows and errors, up to rounding."""

    def client(number: int) -> None:
        rng = np.random.default_rng(number)
        with triton.InferenceServerClient(service.address) as connection:
            for turn in range(CALLS):
                width = (np.float64, np.float32)[(number + turn) % 2]
                queries = iris[rng.integers(0, len(iris), rng.integers(0, 4))].astype(width)
                given = triton.InferInput("queries", queries.shape, f"FP{8 * queries.itemsize}")
                given.set_data_from_numpy(queries)
                found = connection.infer("best", [given])
                expected = estimates["best"].log_density_and_score(queries)
                for name, wanted in zip(("log_density", "score"), expected, strict=True):
                    assert found.as_numpy(name).dtype == wanted.dtype
                    np.testing.assert_allclose(found.as_numpy(name), wanted, rtol=1e-4, atol=1e-4)
                if turn % 5 == 0:
                    status, answer = service.infer("best", {"inputs": [tensor("queries", np.zeros((1, 3)))]})
                    assert status == 400
                    assert "queries must have shape" in answer["error"]

    with (
        running(str(files["best"]), "--threads", "1", "--merge") as service,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        list(pool.map(client, range(CLIENTS)))
        assert service.infer("best", {"inputs": [tensor("queries", iris)]})[0] == 200
        text = service.ask("GET", "/metrics")[1].decode()
        assert "discoformer_held_requests 0.0\n" in text
