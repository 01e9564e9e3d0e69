"""From the bytes of a request to those of its answer, in one thread."""

from dataclasses import dataclass

from discoformer.serve.jobs import Job
from discoformer.serve.limits import Limits
from discoformer.serve.messages import Reply, Request, compose, parse
from discoformer.serve.served import Answer, Served, check_request


@dataclass(frozen=True)
class Call:
    """A request as it came: to a model, its bytes, and the time it may take."""

    served: Served
    body: bytes
    json_length: int | None  # bytes of its JSON part; None for all
    job: Job


@dataclass(frozen=True)
class Answered:
    """An answer, and how much was asked."""

    reply: Reply
    rows: int  # queries


def answer(call: Call, limits: Limits) -> Answered:
    """Answer a request.

    Raises:
        InputError: It cannot be answered.
    """
    request = read(call, limits)
    found = call.served.answer(request, call.job)
    call.job.check()
    return composed(call, request, found)


def read(call: Call, limits: Limits) -> Request:
    """Read a request and check it; this begins the work.

    Raises:
        RequestError: It is malformed or beyond a limit, or its time is over.
    """
    call.job.start()
    request = parse(call.body, call.json_length, limits)
    check_request(call.served, request, limits)
    return request


def composed(call: Call, request: Request, found: Answer) -> Answered:
    """Return an answer as it is sent.

    Raises:
        RequestError: A tensor that is wanted in JSON holds a number that JSON cannot hold.
    """
    outputs = {name: found.outputs[name] for name in request.outputs or found.outputs}
    reply = compose(call.served.name, call.served.version, request, outputs, found.warnings)
    return Answered(reply, found.outputs["log_density"].size)
