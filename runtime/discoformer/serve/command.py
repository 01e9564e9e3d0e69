"""The command ``discoformer serve``."""

import asyncio
import logging
import os
import socket
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from threadpoolctl import threadpool_limits

from discoformer.errors import DataWarning, InputError, RangeWarning
from discoformer.io.files import read_file
from discoformer.onnx.placement import Device
from discoformer.serve.app import Service
from discoformer.serve.connections import Connection
from discoformer.serve.guards import App
from discoformer.serve.limits import HEADERS, Limits
from discoformer.serve.logs import log, start_logs
from discoformer.serve.opening import open_all, warm_up
from discoformer.serve.workers import Workers, usable_cores

TOKEN = "DISCOFORMER_TOKEN"  # variable of the environment
_FEWEST = 16  # characters of a token
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    targets: Sequence[str],
    model: str,
    device: Device,
    threads: int | None,
    host: str,
    port: int,
    token_file: Path | None,
    limits: Limits,
    merge: bool,
) -> None:
    """Serve models and saved estimates until SIGTERM or Ctrl-C, and finish the requests that are at work.

    Args:
        targets: What to serve; see ``opening.open_all``.
        model: Name or folder of the model that made the saved estimates.
        device: Device of the networks.
        threads: Requests that are answered at a time; by default one for each core.
        host: Address to listen at.
        port: Port to listen at, or 0 for any free one.
        token_file: File with the token; by default that in the environment, if any.
        limits: Limits of requests.
        merge: Whether small requests to one saved estimate are answered together.

    Raises:
        InputError: An argument or a file cannot be used.
        ModelError: A model cannot be used, or did not make an estimate.
        OSError: A file cannot be read.
    """
    token = read_token(token_file, os.environ)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)  # they are in the answers
        warnings.simplefilter("ignore", DataWarning)
        served = open_all(targets, model, device)
        for item in served.values():
            warm_up(item)
        workers = Workers(threads or usable_cores(), limits)
        app = Service(served, workers, limits, merge).app(token)
        with _listening(host, port) as listener:
            start_logs()
            _say_where(listener, host, token)
            log("serving", models=list(served), threads=workers.threads)
            _run(app, listener, limits)
        workers.close()
        log("stopped")


def read_token(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the token that requests need, or None.

    Raises:
        InputError: It is too short, or cannot be sent in a header.
        OSError: The file cannot be read.
    """
    where = f"the token in {path or TOKEN}"
    token = read_file(path, 4096, InputError).decode("latin-1").strip() if path else environment.get(TOKEN)
    if token is None:
        return None
    if len(token) < _FEWEST or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{where} must have {_FEWEST} characters or more of ASCII without blanks, got {len(token)} "
            "characters: make one with python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InputError: The address is in use or invalid.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"cannot listen at --host {host} --port {port} ({error}): choose another port, or 0 for any "
            "free one"
        ) from error


def _say_where(listener: socket.socket, host: str, token: str | None) -> None:
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    log("listening", url=f"http://{shown}:{port}", port=port, token=token is not None)
    if token is None and host not in _LOOPBACK:
        log("anybody who reaches this address may ask: set --token-file", logging.WARNING)


def _run(app: App, listener: socket.socket, limits: Limits) -> None:
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADERS,
        timeout_graceful_shutdown=int(limits.seconds) + 5,
    )
    server: Any = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # uvicorn sends itself the signal again, once all is done
        asyncio.run(server.serve(sockets=[listener]))
