"""Start the service as users do, and talk to it: in HTTP, and in bytes on a socket."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

COMMAND = (sys.executable, "-c", "from discoformer.cli import main; main()", "serve")


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)  # of its log
    other: list[str] = field(default_factory=list)  # lines that are not JSON
    port: int = 0
    _ready: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.other.append(line)
                continue
            if self.lines[-1]["message"] == "listening":
                self.port = self.lines[-1]["port"]
            if self.lines[-1]["message"] == "serving":
                self._ready.set()
        self._ready.set()

    def wait(self) -> None:
        assert self._ready.wait(60)
        assert self.port, self.other

    def connect(self, timeout: float = 60) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Send one request; return status, JSON (or bytes) and headers of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers.get_content_type() == "application/json":
                return answer.status, json.loads(content), answer.headers
            return answer.status, content, answer.headers
        finally:
            connection.close()

    def infer(self, model: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Send a request for an answer; ``body`` is bytes, or becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", f"/v2/models/{model}/infer", content, headers)[:2]

    def wait_until_held(self, count: int) -> None:
        """Wait until so many requests are at work or wait."""
        deadline = time.monotonic() + 60
        while f"discoformer_held_requests {count:.1f}\n" not in self.ask("GET", "/metrics")[1].decode():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def memory(self) -> float:
        """Resident memory, MB."""
        with open(f"/proc/{self.process.pid}/status") as file:  # noqa: PTH123
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))  # noqa: PTH208


@contextmanager
def running(*arguments: str, **variables: str) -> Iterator[Service]:
    """Run ``discoformer serve`` at a free port, and end it."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"],
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    service = Service(process)
    reader = threading.Thread(target=service.read, daemon=True)
    reader.start()
    try:
        service.wait()
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(90)
        finally:
            process.kill()
        reader.join(10)
        assert process.stderr
        process.stderr.close()


def tensor(name: str, array: Any) -> dict[str, Any]:
    """An input as JSON."""
    datatype = {"float64": "FP64", "float32": "FP32"}[str(array.dtype)]
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}
