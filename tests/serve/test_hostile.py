"""Hostile requests: each is refused with a status and a sentence, soon, and the service goes on."""

import json
import re
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import discoformer
from discoformer.serve.limits import HEADERS, PATIENCE
from tests.serve.service import Service, running, tensor

LENGTH = "Inference-Header-Content-Length"
GOOD = {"name": "queries", "shape": [1, 2], "datatype": "FP64", "data": [1.4, 0.2]}


def asks(*inputs: Any, **others: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **others}


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "the body is no JSON"),
    "no JSON": (b"{", "the body is no JSON"),
    "no UTF-8": (b'{"inputs": "\xff"}', "the body is no JSON in UTF-8"),
    "UTF-16": ('{"inputs": []}'.encode("utf-16"), "the body is no JSON in UTF-8"),
    "deep lists": (b"[" * 10**6, "the body is no JSON"),
    "deep objects": (b'{"a":' * 10**5, "the body is no JSON"),
    "a list": (b"[]", "the body must be a JSON object"),
    "a number": (b"7", "the body must be a JSON object"),
    "a number of many digits": (b"7" * 10**5, "the body is no JSON"),
    "no inputs": ({}, "inputs must be a list"),
    "empty inputs": (asks(), "inputs must hold a tensor"),
    "many inputs": (asks(*[GOOD] * 17), "inputs must be a list of 16"),
    "a string for inputs": ({"inputs": "queries"}, "inputs must be a list"),
    "a string for an input": (asks("queries"), r"inputs\[0\] must be a JSON object"),
    "an input twice": (asks(GOOD, GOOD), "inputs hold queries twice"),
    "no name": (asks(GOOD | {"name": None}), "the name of a tensor must be a string"),
    "another name": (asks(GOOD | {"name": "x" * 10**5}), "best takes queries, got 'x"),
    "a list for parameters": (asks(GOOD, parameters=[1]), "parameters must be a JSON object"),
    "a number for id": (asks(GOOD, id=7), "id must be a string"),
    "a string for a flag": (asks(GOOD, parameters={"binary_data_output": "yes"}), "must be true or false"),
    "another output": (asks(GOOD, outputs=[{"name": "mean"}]), "and score, got 'mean'"),
    "a string for outputs": (asks(GOOD, outputs="score"), "outputs must be a list"),
    "no datatype": (asks(GOOD | {"datatype": None}), "datatype of queries must be FP64 or FP32"),
    "integers": (asks(GOOD | {"datatype": "INT64"}), "must be FP64 or FP32, got 'INT64'"),
    "strings": (asks(GOOD | {"datatype": "BYTES", "data": ["a", "b"]}), "must be FP64 or FP32, got 'BYTES'"),
    "no shape": (asks(GOOD | {"shape": None}), "shape of queries must be a list"),
    "a negative shape": (asks(GOOD | {"shape": [-1, 2]}), "shape of queries must be a list of whole numbers"),
    "a shape of floats": (asks(GOOD | {"shape": [1.0, 2.0]}), "shape of queries must be a list"),
    "a shape of truths": (asks(GOOD | {"shape": [True, 2]}), "shape of queries must be a list"),
    "a great shape": (asks(GOOD | {"shape": [2**62, 2**62]}), "that fits into memory"),
    "a great empty shape": (asks(GOOD | {"shape": [2**39, 0], "data": []}), "queries must have shape"),
    "many axes": (asks(GOOD | {"shape": [1] * 99 + [2]}), "shape of queries must be a list"),
    "a scalar": (asks(GOOD | {"shape": [], "data": [1.0]}), "shape of queries must be a list"),
    "one axis": (asks(GOOD | {"shape": [2]}), r"queries must have shape \[-1, 2\]"),
    "other columns": (asks(GOOD | {"shape": [2, 1]}), r"queries must have shape \[-1, 2\]"),
    "too few numbers": (asks(GOOD | {"data": [1.0]}), "must be 2 numbers, .* got 1 numbers"),
    "no data": (asks(GOOD | {"data": None}), "data of queries must be a list"),
    "an object for data": (asks(GOOD | {"data": {"0": 1}}), "data of queries must be a list"),
    "texts": (asks(GOOD | {"data": ["1.4", "0.2"]}), "data of queries must be numbers, got str"),
    "truths": (asks(GOOD | {"data": [True, 0.2]}), "data of queries must be numbers, got bool"),
    "nothing among numbers": (asks(GOOD | {"data": [1.4, None]}), "must be numbers, got None"),
    "ragged lists": (asks(GOOD | {"data": [[1.4], [0.2, 1.0]]}), "nested as the shape"),
    "lists too deep": (asks(GOOD | {"data": [[[1.4, 0.2]]]}), "nested as the shape"),
    "lists and numbers": (asks(GOOD | {"data": [[1.4], 0.2]}), "nested as the shape"),
    "transposed lists": (asks(GOOD | {"data": [[1.4], [0.2]]}), "nested as the shape"),
    "NaN": (json.dumps(asks(GOOD | {"data": [float("nan"), 1]})).encode(), "NaN is no number of JSON"),
    "infinity": (json.dumps(asks(GOOD | {"data": [float("inf"), 1]})).encode(), "Infinity is no number"),
    "a float beyond float64": (json.dumps(asks(GOOD)).replace("1.4", "1e999").encode(), "finite, got inf"),
    "an integer beyond float64": (asks(GOOD | {"data": [10**400, 1]}), "a number beyond float64"),
    "a float beyond float32": (asks(GOOD | {"datatype": "FP32", "data": [1e300, 1]}), "finite, got inf"),
    "a size without bytes": (asks(GOOD | {"parameters": {"binary_data_size": 16}}), "binary_data_size"),
    "a negative size": (asks(GOOD | {"parameters": {"binary_data_size": -1}}), "binary_data_size"),
    "a size that is a text": (asks(GOOD | {"parameters": {"binary_data_size": "16"}}), "binary_data_size of"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_malformed_request_is_refused(service: Service, case: str) -> None:
    body, text = REFUSED[case]
    begun = time.monotonic()
    status, answer = service.infer("best", body)
    assert status == 400
    assert re.search(text, answer["error"]), answer
    assert len(answer["error"]) < 500
    assert time.monotonic() - begun < 5


def binary(
    size: int, content: bytes, shape: tuple[int, ...] = (1, 2), datatype: str = "FP64"
) -> tuple[bytes, int]:
    item = {"name": "queries", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    head = json.dumps(asks(item)).encode()
    return head + content, len(head)


@pytest.mark.parametrize(
    ("size", "content", "text"),
    [
        (16, b"", "binary_data_size of queries must be a whole number, 0 at most"),
        (24, bytes(16), "16 at most"),
        (8, bytes(16), "has 16 bytes, but binary_data_size is 8"),
        (16, bytes(24), "8 bytes follow the last tensor"),
        (16, struct.pack("<2d", np.nan, 1), "queries must be finite, got nan"),
        (16, struct.pack("<2d", -np.inf, 1), "queries must be finite, got -inf"),
    ],
)
def test_binary_sizes_that_lie(service: Service, size: int, content: bytes, text: str) -> None:
    body, length = binary(size, content)
    status, answer = service.infer("best", body, **{LENGTH: str(length)})
    assert status == 400
    assert text in answer["error"]


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", "٣", "9" * 30, "9999"])
def test_lengths_of_the_json_that_lie(service: Service, length: str) -> None:
    body, _ = binary(16, bytes(16))
    status, answer = service.infer("best", body, **{LENGTH: length.encode().decode("latin-1")})
    assert status == 400
    assert LENGTH in answer["error"]


def test_a_length_in_the_middle_of_the_json(service: Service) -> None:
    body, length = binary(16, bytes(16))
    for cut in (0, 1, length - 1, length + 1):
        status, answer = service.infer("best", body, **{LENGTH: str(cut)})
        assert status == 400
        assert "the body is no JSON" in answer["error"]


def test_samples_without_a_density_are_refused(service: Service, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 20, 2))
    for context, text in (
        (x[:, :1], "context[0] (X)"),
        (x[:, :0], "context[0] (X)"),
        (x * [1, 0], "constant"),
        (x[..., [0, 0]], "linear combinations"),
    ):
        body = asks(tensor("context", context), tensor("queries", x[:, :1]))
        status, answer = service.infer("base", body)
        assert status == 400
        assert text in answer["error"]
    for shape in ((1, 3, 3), (2, 3, 2), (0, 3, 2)):
        body = asks(tensor("context", x), tensor("queries", rng.normal(size=shape)))
        status, answer = service.infer("base", body)
        assert status == 400
        assert "queries must have the 1 samples and 2 columns of context" in answer["error"]
    for logs, text in (
        (np.full((1, 20), -1e30), "log_weights must be above"),
        (np.zeros((1, 19)), "log_weights must have the shape [1, 20]"),
        (np.zeros((20, 1)), "log_weights must have the shape [1, 20]"),
    ):
        body = asks(tensor("context", x), tensor("queries", x), tensor("log_weights", logs))
        status, answer = service.infer("base", body)
        assert status == 400
        assert text in answer["error"]


def test_far_queries_have_finite_answers(
    service: Service, estimates: dict[str, discoformer.Estimate]
) -> None:
    far = np.array([[1e300, -1e300], [1.4, 1e-300]])
    for name in ("best", "fast"):
        status, answer = service.infer(name, asks(tensor("queries", far)))
        assert status == 200
        assert np.isfinite(answer["outputs"][0]["data"]).all()


def test_paths_and_methods_that_are_not_there(service: Service) -> None:
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/../../etc/passwd", 404),
        ("GET", "/v2/models/%2e%2e%2fbest", 404),
        ("GET", "/v2/models/best/versions/", 404),
        ("GET", "/v2/models/best%00", 404),
        ("POST", "/v2", 405),
        ("GET", "/v2/models/best/infer", 405),
        ("DELETE", "/v2/models/best", 405),
        ("PUT", "/v2/models/best/infer", 405),
        ("BREW", "/v2", 405),
    ):
        got, answer, _ = service.ask(method, path)
        assert (got, type(answer.get("error"))) == (status, str), path


def test_a_body_must_have_a_length_and_be_as_it_is(service: Service) -> None:
    path = "/v2/models/best/infer"
    status, answer, _ = service.ask("POST", path, iter([json.dumps(asks(GOOD)).encode()]))  # type: ignore[arg-type]
    assert status == 411
    assert "Content-Length is needed" in answer["error"]
    status, answer, _ = service.ask("POST", path, b"x", {"Content-Encoding": "gzip"})
    assert status == 415
    assert "Content-Encoding" in answer["error"]


def raw(service: Service, content: bytes) -> bytes:
    """Send bytes; return all that comes until the service closes the connection."""
    with service.connect() as connection:
        connection.sendall(content)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (4 * HEADERS) + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * (4 * HEADERS) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),  # TLS
        (b"hello\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: a\r\nBad header\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),  # no Host
    ],
    ids=["headers", "path", "TLS", "no HTTP", "length", "two lengths", "header", "no host"],
)
def test_what_is_no_http_is_refused(service: Service, content: bytes, status: int) -> None:
    answer = raw(service, content)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_body_that_is_too_large_is_refused_before_it_is_read(files: dict[str, Any]) -> None:
    head = b"POST /v2/models/fast/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
    with running(
        str(files["fast"]), "--max-bytes", "100000", "--max-rows", "100", "--max-columns", "2"
    ) as service:
        answer = raw(service, head % 10**12 + b"Expect: 100-continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        before = service.memory()
        status, found = service.infer(
            "fast", bytes(50_000_000)
        )  # all of it is sent; its client sees the answer
        assert status == 413
        assert "a request must have 100000 bytes or fewer, got 50000000" in found["error"]
        assert service.memory() - before < 20
        status, found = service.infer("fast", asks(tensor("queries", np.zeros((101, 2)))))
        assert status == 413
        assert "queries must have 100 rows or fewer, got 101" in found["error"]
        assert service.infer("fast", asks(tensor("queries", np.zeros((100, 2)))))[0] == 200


def test_a_sample_may_be_smaller_than_a_tensor(files: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 25, 2))
    with running("base", "--max-sample", "100") as service:
        assert service.infer("base", asks(tensor("context", x), tensor("queries", x)))[0] == 200
        x = np.repeat(x, 2, 1)
        status, answer = service.infer("base", asks(tensor("context", x), tensor("queries", x)))
        assert status == 413
        assert "context must have 100 numbers or fewer, got 200" in answer["error"]
        assert "--max-sample" in answer["error"]


def test_json_may_be_shorter_than_a_body(service: Service) -> None:
    status, answer = service.infer("best", b" " * (8 * 2**20 + 1))
    assert status == 413
    assert "send tensors in binary" in answer["error"]


def test_a_long_answer_must_be_binary(service: Service) -> None:
    for dim, binary, status in ((5, False, 200), (9, False, 413), (9, True, 200)):
        queries, context = np.zeros((1, 120_000, dim)), np.random.default_rng(0).normal(size=(1, 40, dim))
        item = {"name": "queries", "shape": queries.shape, "datatype": "FP64"}
        item |= {"parameters": {"binary_data_size": queries.nbytes}}
        parameters = {"effort": "fast", "binary_data_output": binary}
        text = json.dumps(asks(item, tensor("context", context), parameters=parameters)).encode()
        got, answer = service.infer("base", text + queries.tobytes(), **{LENGTH: str(len(text))})
        assert got == status, answer
        assert status == 200 or "score has 1080000 numbers, and JSON may hold 1048576" in answer["error"]


def seconds_until_closed(
    service: Service, *parts: bytes, pause: float = 0.0, read: bool = True
) -> tuple[float, bytes]:
    """Send parts with pauses between them until the service closes the connection."""
    begun, found = time.monotonic(), b""
    with service.connect(2 * PATIENCE + 20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            while read and (part := connection.recv(65536)):
                found += part
        except (BrokenPipeError, ConnectionResetError):
            pass
        return time.monotonic() - begun, found


@pytest.mark.slow
def test_slow_and_silent_clients_are_let_go(files: dict[str, Any]) -> None:
    """All at the same time: silent, slow with headers, with half a body, idle, and one that does not read."""
    head = b"POST /v2/models/fast/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    queries = np.zeros((100_000, 2))
    item = {"name": "queries", "shape": [100_000, 2], "datatype": "FP64"}
    text = json.dumps(asks(item | {"parameters": {"binary_data_size": queries.nbytes}}, parameters={
        "binary_data_output": True})).encode()  # fmt: skip
    long = (
        f"POST /v2/models/fast/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(text) + queries.nbytes}\r\n"
        f"{LENGTH}: {len(text)}\r\n\r\n"
    ).encode() + text + queries.tobytes()  # fmt: skip
    with running(str(files["fast"]), "--timeout", "3") as service, ThreadPoolExecutor(8) as pool:
        silent = pool.submit(seconds_until_closed, service)
        dripping = pool.submit(seconds_until_closed, service, *(b"%c" % c for c in head[:70] * 9), pause=0.5)
        halved = pool.submit(seconds_until_closed, service, head + b"{")
        trickling = pool.submit(seconds_until_closed, service, head, *[b"{"] * 90, pause=0.3)
        idle = pool.submit(seconds_until_closed, service, b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")

        def unread() -> float:
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", service.port))
                connection.sendall(long)
                begun = time.monotonic()
                while service.ask("GET", "/v2")[0] == 200 and time.monotonic() - begun < 4 * PATIENCE:
                    time.sleep(0.5)
                    if f"{connection.getsockname()[1]:04X}" not in connections(service):
                        break
                return time.monotonic() - begun

        deaf = pool.submit(unread)
        assert PATIENCE - 1 < silent.result()[0] < PATIENCE + 5
        assert PATIENCE - 1 < dripping.result()[0] < PATIENCE + 5
        assert idle.result()[1].startswith(b"HTTP/1.1 200 ")
        assert idle.result()[0] < PATIENCE + 5
        for slow in (halved, trickling):
            seconds, answer = slow.result()
            assert 2 < seconds < 12
            assert slow is trickling or answer.startswith(b"HTTP/1.1 408 ")
        assert deaf.result() < 3 * PATIENCE
        assert service.infer("fast", asks(tensor("queries", queries[:3])))[0] == 200


def connections(service: Service) -> set[str]:
    """The far ports, in hexadecimal digits, of the connections that the service has."""
    with open(f"/proc/{service.process.pid}/net/tcp") as file:  # noqa: PTH123
        rows = [line.split() for line in file][1:]
    mine = f":{service.port:04X}"
    return {row[2].partition(":")[2] for row in rows if row[1].endswith(mine) and row[9] != "0"}


def test_connections_are_bounded(files: dict[str, Any]) -> None:
    from discoformer.serve.limits import CONNECTIONS

    with running(str(files["fast"])) as service:
        held = [service.connect() for _ in range(CONNECTIONS)]
        try:
            time.sleep(0.5)
            answer = raw(service, b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1\r\n" in answer
        finally:
            for connection in held:
                connection.close()
        time.sleep(0.5)
        assert service.ask("GET", "/v2")[0] == 200


def test_after_all_that_the_service_answers_and_its_log_is_clean(service: Service) -> None:
    status, answer = service.infer("best", asks(GOOD))
    assert status == 200
    assert np.isfinite(answer["outputs"][0]["data"]).all()
    assert not [line for line in service.lines if line["level"] == "error"]
    assert service.memory() < 1500
