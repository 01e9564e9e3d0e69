"""Requests that are refused: an error with a status of HTTP."""

from collections.abc import Mapping

from discoformer.errors import InputError


class RequestError(InputError):
    """A request cannot be answered.

    Attributes:
        status: Status of HTTP.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


def invalid(text: str) -> RequestError:
    """Return the refusal of a request that is malformed."""
    return RequestError(400, text)


def too_large(text: str) -> RequestError:
    """Return the refusal of a request that is beyond a limit."""
    return RequestError(413, text)


def busy(text: str) -> RequestError:
    """Return the refusal of a request that may be sent again soon."""
    return RequestError(503, text, {"Retry-After": "1"})
