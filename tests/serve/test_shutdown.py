"""SIGTERM and Ctrl-C: what has been taken is answered, nothing more is taken, and the exit code is 0."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.serve.service import running, tensor


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_requests_at_work_and_waiting_are_answered(
    files: dict[str, Path], iris: np.ndarray, number: signal.Signals
) -> None:
    body = {"inputs": [tensor("queries", np.resize(iris, (40_000, 2)))]}
    with (
        running(str(files["best"]), "--threads", "1") as service,
        ThreadPoolExecutor(4) as pool,
        service.connect() as idle,
    ):
        asked = [pool.submit(service.infer, "best", body) for _ in range(3)]
        service.wait_until_held(3)
        service.process.send_signal(number)
        time.sleep(0.4)
        with pytest.raises(ConnectionRefusedError):
            service.connect()
        for one in asked:
            status, answer = one.result(60)
            assert status == 200
            assert len(answer["outputs"][0]["data"]) == 40_000
        assert service.process.wait(30) == 0
        assert idle.recv(1) == b""
        assert service.lines[-1]["message"] == "stopped"
        assert not service.other


def test_a_request_whose_body_is_on_its_way_is_answered(files: dict[str, Path], iris: np.ndarray) -> None:
    body = json.dumps({"inputs": [tensor("queries", iris)]}).encode()
    head = f"POST /v2/models/fast/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with running(str(files["fast"])) as service, service.connect() as connection:
        connection.sendall(head + body[:100])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(body[100:])
        answer = b""
        while part := connection.recv(65536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"}")
        assert service.process.wait(30) == 0


def test_a_body_that_does_not_come_holds_nothing_up_for_long(files: dict[str, Path]) -> None:
    head = b"POST /v2/models/fast/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    with running(str(files["fast"]), "--timeout", "1") as service, service.connect() as connection:
        connection.sendall(head)
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0
