"""Layers around the application: who may ask, and bodies that are not read."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from discoformer.serve.limits import HEADERS

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_DRAINED = 2.0  # seconds that a refused body is read and thrown away


def header(scope: Scope, name: str) -> str | None:
    """Return a header of a request, or None; of several the last."""
    wanted = name.lower().encode()
    found = [value for key, value in scope["headers"] if key == wanted]
    return found[-1].decode("latin-1") if found else None


def has_long_head(scope: Scope) -> bool:
    """Return whether the path and headers of a request are too long."""
    sizes = sum(len(key) + len(value) for key, value in scope["headers"])
    return sizes + len(scope["raw_path"]) + len(scope["query_string"]) > HEADERS


def is_allowed(scope: Scope, token: str | None) -> bool:
    """Return whether a request may be answered: it has the token, or asks for the health of the service."""
    if token is None or scope["path"].startswith("/v2/health/"):
        return True
    given = (header(scope, "authorization") or "").encode("latin-1")
    return hmac.compare_digest(given, f"Bearer {token}".encode())


class ReadToTheEnd:
    """Refuse a request before its body is read, so that the other side still sees the answer.

    A client that sends a body of 100 MB looks for the answer when it has sent all of it. If the connection is
    closed before, it sees a broken connection, and no answer. So for a moment what comes is thrown away.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        length = header(scope, "content-length")
        ended = length in (None, "0") and header(scope, "transfer-encoding") is None

        async def receive_and_note() -> Message:
            nonlocal ended
            message = await receive()
            ended = message["type"] != "http.request" or not message.get("more_body")
            return message

        async def drain() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAINED):
                    while not ended:
                        await receive_and_note()

        async def send_and_drain(message: Message) -> None:
            if not ended and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif not ended and not message.get("more_body"):
                await send(message | {"more_body": True})  # type: ignore[operator]
                await drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self.app(scope, receive_and_note, send_and_drain)
