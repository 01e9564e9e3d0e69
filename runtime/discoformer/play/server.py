"""Web server for the site, on this machine."""

import os
import shutil
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from discoformer.errors import InputError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}

MOST_CONNECTIONS = 32  # open at a time; further ones are closed at once
PATIENCE = 10.0  # seconds that a connection may be silent


class Server(ThreadingHTTPServer):
    """Server of the files of a site, and of no other files.

    Connections are bounded in number, and closed when they are silent or broken.

    Args:
        host: Address to listen at.
        port: Port to listen at, or 0 for any free one.
        files: The file for each URL path, without the leading slash.

    Raises:
        InputError: The address is in use or invalid.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows this would take over the port of another process

    def __init__(self, host: str, port: int, files: dict[str, Path]) -> None:
        self.files = files | {"": files["index.html"]}
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"cannot listen at --host {host} --port {port} ({error}): choose another port, or 0 for any "
                "free one"
            ) from error

    @property
    def url(self) -> str:
        """Return the URL of the page."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own, or close it if there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing if the other side has gone."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: Server

    def do_GET(self) -> None:
        if path := self._answer():
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> Path | None:
        """Send the status and the headers of the answer; return the file to send, or None."""
        try:
            path = self.server.files.get(unquote(urlsplit(self.path).path).removeprefix("/"))
        except ValueError:  # such as http://[::1
            self.send_error(HTTPStatus.BAD_REQUEST)
            return None
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[path.suffix])
        self.send_header("Content-Length", str(path.stat().st_size))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        return path

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""
