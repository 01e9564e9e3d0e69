"""Connections of the web server, with limits that uvicorn does not have.

A connection that is slow with the headers of a request, idle, or slow to read its answer is closed. There are
so many connections at most. Requests that are no HTTP get an answer in JSON.
"""

import asyncio
import json
import socket
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from discoformer.serve.limits import CONNECTIONS, HEADERS, PATIENCE

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux
_LINGER = 2.0  # seconds until a connection that was turned away is closed, unless the other side does
_PROGRESS = 2**16  # bytes of an answer that the other side must read within PATIENCE


class Connection(H11Protocol):  # type: ignore[misc]  # its types are not read, see pyproject.toml
    """A connection."""

    _head: asyncio.TimerHandle | None = (
        None  # closes the connection unless the headers of a request are there
    )
    _writes: asyncio.TimerHandle | None = None  # looks whether the answer is read
    _unread = 0  # bytes that were not read when it last looked
    _is_turned_away = False

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or turn it away."""
        super().connection_made(transport)
        # Headers and body of an answer go out at once; asyncio sees to it only if it makes the socket itself.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > 2 * CONNECTIONS:
            self.transport.abort()
        elif len(self.connections) > CONNECTIONS:
            self._turn_away(503, f"there are {CONNECTIONS} connections: connect again later")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the timers."""
        for timer in (self._head, self._writes):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what was received, and acknowledge it at once.

        Some clients send the body when the headers are acknowledged, which Linux puts off for 40 ms.
        """
        if self._is_turned_away:
            return
        if _QUICKACK is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        super().data_received(data)

    def handle_events(self) -> None:
        """Handle what was received."""
        super().handle_events()
        if self._head and self.cycle is not None and not self.cycle.response_complete:
            self._head.cancel()
            self._head = None

    def on_response_complete(self) -> None:
        """Wait for the next request, and watch that the answer is read."""
        self._await_head()
        self._watch_writes()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Watch that the answer is read."""
        super().pause_writing()
        self._watch_writes()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a request that is no HTTP."""
        hint = getattr(sys.exception(), "error_status_hint", 400)
        if hint == 431:
            self._turn_away(431, f"the headers of a request must have {HEADERS} bytes or fewer: send fewer")
        else:
            self._turn_away(400, f"this is no HTTP request ({sys.exception()}): send HTTP/1.1")

    def shutdown(self) -> None:
        """Close the connection, or let it finish its request."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.abort()

    def _turn_away(self, status: int, text: str) -> None:
        """Send an answer, take no further request, and close the connection soon."""
        body = json.dumps({"error": text}).encode()
        again = "Retry-After: 1\r\n" if status == 503 else ""
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n{again}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._is_turned_away = True
        if self._is_answering():
            self.transport.abort()
            return
        self.transport.write(head.encode() + body)
        self.transport.write_eof()  # a close while data come would break the connection before this is read
        self.loop.call_later(_LINGER, self.transport.abort)

    def _is_answering(self) -> bool:
        """Return whether the answer to an earlier request has begun and not ended."""
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head:
            self._head.cancel()
        self._head = self.loop.call_later(PATIENCE, self.transport.abort)

    def _watch_writes(self) -> None:
        if self._writes is None:
            self._unread = self.transport.get_write_buffer_size()
            self._writes = self.loop.call_later(PATIENCE, self._look_at_writes)

    def _look_at_writes(self) -> None:
        self._writes, unread = None, self.transport.get_write_buffer_size()
        if unread and self._unread - unread < _PROGRESS:
            self.transport.abort()
        elif unread:
            self._watch_writes()
