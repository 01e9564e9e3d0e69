"""Limits of a request, and of all requests together."""

from dataclasses import dataclass

HEADERS = 16 * 2**10  # bytes of the headers of a request
CONNECTIONS = 512  # open at a time
PATIENCE = 10.0  # seconds that a connection may take for headers, stay idle, or not read its answer


@dataclass(frozen=True)
class Limits:
    """Limits of a service."""

    body: int = 64 * 2**20  # bytes of a request
    json: int = 8 * 2**20  # bytes of its JSON part, which takes twenty times as much memory once read
    rows: int = 2**17  # rows of a tensor, over all samples
    columns: int = 128  # columns of a tensor
    sample: int = (
        2**21
    )  # numbers in all samples of a request: reading one takes a while, and is not interrupted
    seconds: float = 60.0  # from the first byte of a request to its answer
    waiting: int = 64  # requests that wait for a thread

    @property
    def held(self) -> int:
        """Most bytes of all requests that are held at a time."""
        return 4 * self.body
