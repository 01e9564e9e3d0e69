"""The application: endpoints of the Open Inference Protocol, metrics and documents.

GET   /v2                                          name, version and extensions of the service
GET   /v2/health/live, /v2/health/ready
GET   /v2/models/NAME[/versions/VERSION]           tensors of a model
GET   /v2/models/NAME[/versions/VERSION]/ready
POST  /v2/models/NAME[/versions/VERSION]/infer     an answer
GET   /metrics                                     for Prometheus
GET   /docs, /openapi.json                         this interface
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from discoformer.errors import InputError
from discoformer.io.inputs import shown
from discoformer.serve.answering import Answered, Call, answer
from discoformer.serve.documents import openapi, page
from discoformer.serve.guards import (
    App,
    ReadToTheEnd,
    Receive,
    Scope,
    Send,
    has_long_head,
    header,
    is_allowed,
)
from discoformer.serve.jobs import Job
from discoformer.serve.limits import HEADERS, Limits
from discoformer.serve.logs import log
from discoformer.serve.merging import Merger
from discoformer.serve.messages import LENGTH
from discoformer.serve.metrics import CONTENT_TYPE_LATEST, Metrics
from discoformer.serve.refusals import RequestError, invalid, too_large
from discoformer.serve.served import Served
from discoformer.serve.workers import Workers

_GONE = 499  # status in logs and metrics where the client went away
_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"


class Service:
    """What the endpoints share.

    Args:
        models: What is served, by name.
        workers: Threads that do the work.
        limits: Limits of requests.
        merge: Whether small requests to one saved estimate are answered together.
    """

    def __init__(self, models: Mapping[str, Served], workers: Workers, limits: Limits, merge: bool) -> None:
        self.models = models
        self.workers = workers
        self.limits = limits
        self._submit = Merger(workers, limits).submit if merge else self._submit_alone
        self.metrics = Metrics(lambda: workers.room.count, workers.threads)

    def app(self, token: str | None) -> App:
        """Return the application.

        Args:
            token: What requests must have in ``Authorization: Bearer TOKEN``; None for anybody.
        """
        routes = [
            Route("/v2", self.about),
            Route("/v2/health/live", partial(_say, {"live": True})),
            Route("/v2/health/ready", partial(_say, {"ready": True})),
            *(
                route
                for path in (_MODEL, _VERSION)
                for route in (
                    Route(path, self.model),
                    Route(f"{path}/ready", self.ready),
                    Route(f"{path}/infer", self.infer, methods=["POST"]),
                )
            ),
            Route("/metrics", self.measured),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
        ]
        handlers = {
            InputError: _refused,
            HTTPException: _refused,
            ClientDisconnect: _left,
            Exception: _failed,
        }
        inner = Starlette(routes=routes, exception_handlers=handlers)
        inner.router.redirect_slashes = False
        return ReadToTheEnd(_Observed(inner, self, token))

    async def about(self, _: Request) -> Response:
        """Say what this is."""
        return JSONResponse(
            {"name": "discoformer", "version": version("discoformer"), "extensions": ["binary_tensor_data"]}
        )

    async def model(self, request: Request) -> Response:
        """Say which tensors a model takes and gives."""
        served = self._served(request)
        return JSONResponse(
            {
                "name": served.name,
                "versions": [served.version],
                "platform": "onnxruntime_onnx",
                "inputs": [spec.about for spec in served.inputs],
                "outputs": [spec.about for spec in served.outputs],
                "parameters": dict(served.about),
            }
        )

    async def ready(self, request: Request) -> Response:
        """Say that a model is there."""
        return JSONResponse({"name": self._served(request).name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Answer a request."""
        served = self._served(request)
        size, json_length = self._sizes(request)
        job = request.scope["job"] = Job(self.limits.seconds)
        room = self.workers.room
        room.enter(size)
        try:
            body = await _body(request, size, job)
            future = self._submit(Call(served, body, json_length, job))
        except BaseException:
            room.leave(size)
            raise
        future.add_done_callback(lambda _: room.leave(size))
        answered = await _awaited(asyncio.wrap_future(future), request, job)
        request.scope["rows"] = answered.rows
        return Response(answered.reply.body, headers=answered.reply.headers)

    def _submit_alone(self, call: Call) -> "Future[Answered]":
        return self.workers.submit(partial(answer, call, self.limits))

    async def measured(self, _: Request) -> Response:
        """Return the metrics."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(self, _: Request) -> Response:
        """Return the interface as an OpenAPI document."""
        return JSONResponse(openapi(self.models, self.limits))

    async def docs(self, request: Request) -> Response:
        """Return a page that describes the interface."""
        return HTMLResponse(page(openapi(self.models, self.limits), str(request.base_url)))

    def _served(self, request: Request) -> Served:
        """Return the model of a request.

        Raises:
            RequestError: There is none of this name and version.
        """
        name, wanted = request.path_params["name"], request.path_params.get("version")
        found = self.models.get(name)
        if found is None:
            raise RequestError(404, f"there is no model {shown(name)}: choose of {', '.join(self.models)}")
        if wanted not in (None, found.version):
            raise RequestError(
                404, f"{name} has version {found.version}, got {shown(wanted)}: ask for that one"
            )
        return found

    def _sizes(self, request: Request) -> tuple[int, int | None]:
        """Return the bytes of a body, and those of its JSON part, from the headers.

        Raises:
            RequestError: They are not given, or are too many.
        """
        encoding = header(request.scope, "content-encoding")
        if encoding not in (None, "identity"):
            raise RequestError(
                415, f"Content-Encoding must not be used, got {shown(encoding)}: send bodies as they are"
            )
        length = header(request.scope, "content-length")
        if length is None:
            raise RequestError(411, "Content-Length is needed: send the number of bytes of the body")
        size = int(length)  # h11 has checked it
        if size > self.limits.body:
            raise too_large(
                f"a request must have {self.limits.body} bytes or fewer, got {size}: send fewer rows at a "
                "time, or start the service with a higher --max-bytes"
            )
        json_length = header(request.scope, LENGTH)
        if json_length is None:
            return size, None
        if not (json_length.isascii() and json_length.isdecimal() and len(json_length) < 20):
            raise invalid(f"{LENGTH} must be a whole number of 0 or more, got {shown(json_length)}")
        return size, int(json_length)


async def _say(content: Mapping[str, Any], _: Request) -> Response:
    return JSONResponse(content)


async def _body(request: Request, size: int, job: Job) -> bytes:
    """Read the body of a request.

    Raises:
        RequestError: It does not come in time.
        ClientDisconnect: The client went away.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(job.left()):
            async for part in request.stream():
                body += part
    except TimeoutError as error:
        raise RequestError(
            408,
            f"{len(body)} of {size} bytes came within the {job.seconds:g} s of --timeout: send them faster",
        ) from error
    return bytes(body)


async def _awaited(answered: "asyncio.Future[Answered]", request: Request, job: Job) -> Answered:
    """Wait for an answer.

    Raises:
        InputError: The request is refused.
        ClientDisconnect: The client went away before.
    """
    gone = asyncio.ensure_future(request.receive())  # the body has been read, so this is a disconnection
    try:
        done, _ = await asyncio.wait({answered, gone}, timeout=job.left(), return_when="FIRST_COMPLETED")
    finally:
        gone.cancel()
    if answered in done:
        return answered.result()
    job.abandon()
    answered.cancel()
    if gone in done:
        raise ClientDisconnect
    raise job.too_late()


async def _refused(_: Request, error: Exception) -> Response:
    """Return the answer to a request that is refused."""
    if isinstance(error, RequestError):
        return JSONResponse({"error": str(error)}, error.status, error.headers)
    if isinstance(error, HTTPException):
        return JSONResponse({"error": f"{error.detail}: see /docs"}, error.status_code, error.headers)
    return JSONResponse({"error": str(error)}, 400)


async def _left(_: Request, error: Exception) -> Response:
    """Return an answer for the log, since nobody is there to read it."""
    return Response(status_code=_GONE)


async def _failed(_: Request, error: Exception) -> Response:
    """Return the answer to a request that the service cannot answer through no fault of its own."""
    return JSONResponse({"error": f"the service failed ({type(error).__name__}); its log says more"}, 500)


class _Observed:
    """The application, with who may ask, logs and metrics."""

    def __init__(self, app: App, service: Service, token: str | None) -> None:
        self.app, self.service, self.token = app, service, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = time.monotonic(), _GONE

        async def send_and_note(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await (self._refusal(scope) or self.app)(scope, receive, send_and_note)
        finally:
            self._note(scope, status, time.monotonic() - begun)

    def _refusal(self, scope: Scope) -> App | None:
        """Return the answer to a request that may not ask, or None."""
        if has_long_head(scope):
            text = f"path and headers of a request must have {HEADERS} bytes or fewer: send fewer"
            return JSONResponse({"error": text}, 431, {"Connection": "close"})
        if not is_allowed(scope, self.token):
            text = "a token is needed: send the header Authorization: Bearer TOKEN"
            return JSONResponse({"error": text}, 401, {"WWW-Authenticate": "Bearer"})
        return None

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request for an answer; log it, and any that was refused."""
        job: Job | None = scope.get("job")
        name = scope.get("path_params", {}).get("name", "")
        model = name if name in self.service.models else ""
        if scope["path"].endswith("/infer"):
            waited = job.waited() if job and job.started else None
            self.service.metrics.count(model, status, seconds, waited, scope.get("rows", 0))
        elif status < 400:
            return
        log(
            "request",
            logging.ERROR if status >= 500 and status != 503 else logging.INFO,
            method=scope["method"],
            path=scope["path"][:200],
            status=status,
            seconds=round(seconds, 6),
            waited=round(job.waited(), 6) if job else None,
            rows=scope.get("rows", 0),
            bytes=header(scope, "content-length"),
            client=(scope.get("client") or ["?"])[0],
        )
