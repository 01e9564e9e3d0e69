"""The server against connections that are malformed, broken off, silent, or too many."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from discoformer.play import server as server_module
from discoformer.play.server import MOST_CONNECTIONS, Server

PAGE = b"<html></html>"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that waits for 0.3 seconds."""
    monkeypatch.setattr(server_module._Handler, "timeout", 0.3)
    (tmp_path / "index.html").write_bytes(PAGE)
    (tmp_path / "large.js").write_bytes(bytes(2**25))
    files = {name: tmp_path / name for name in ("index.html", "large.js")}
    with Server("127.0.0.1", 0, files) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(server.server_address[:2], timeout=10)


def answer(server: Server, request: bytes) -> bytes:
    """Return all that the server sends to a request until it closes."""
    with connect(server) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(2**16), b""))


def threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def wait_for_threads() -> None:
    """Wait until all requests are answered or let go."""
    end = time.monotonic() + 10
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == 0


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET http://[::1 HTTP/1.1", b"400"),
        (b"GET //[::1 HTTP/1.1", b"404"),
        (b"HEAD http://[v1.x HTTP/1.1", b"400"),
        (b"GET /%00 HTTP/1.1", b"404"),
        (b"GET /\xff\xfe HTTP/1.1", b"404"),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", b"404"),
        (b"POST / HTTP/1.1", b"501"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET " + b"/" * 70_000 + b" HTTP/1.1", b"414"),
    ],
)
def test_malformed_requests_get_their_status(
    server: Server, capfd: pytest.CaptureFixture[str], request_line: bytes, status: bytes
) -> None:
    found = answer(server, request_line + b"\r\nConnection: close\r\n\r\n")
    assert status in found.splitlines()[0] or status in found  # HTTP/0.9 has no status line
    assert answer(server, WHOLE).endswith(PAGE)
    assert capfd.readouterr().err == ""


def test_connections_that_are_broken_off_are_not_told(
    server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    reset = b"\1\0\0\0\0\0\0\0"  # linger 0: closing resets the connection
    for request in (b"", b"GET / HT", b"GET /large.js HTTP/1.1\r\n\r\n"):
        for _ in range(5):
            with connect(server) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                connection.sendall(request)
                if request.endswith(b"\n"):
                    connection.recv(10)
    assert answer(server, WHOLE).endswith(PAGE)
    assert capfd.readouterr().err == ""


def test_a_reader_that_stops_is_let_go(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /large.js HTTP/1.1\r\n\r\n")
        connection.recv(10)
        wait_for_threads()
    assert capfd.readouterr().err == ""


def test_half_open_requests_hold_few_threads_and_not_for_long(server: Server) -> None:
    with ExitStack() as stack:
        held = []
        for _ in range(300):
            stack.enter_context(connect(server)).sendall(b"GET / HTTP/1.1\r\n")
            held.append(threads())
        assert 0 < max(held) <= MOST_CONNECTIONS
        wait_for_threads()
        assert answer(server, WHOLE).endswith(PAGE)
