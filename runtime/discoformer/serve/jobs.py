"""A request at work: how long it may take, and whether anybody still waits for it."""

import time

from discoformer.serve.refusals import RequestError, busy


class Job:
    """A request at work. Work is done in pieces, and ``check`` is called before each.

    Args:
        seconds: Time until it is given up.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = time.monotonic()
        self.started: float | None = None  # when a thread took it
        self.is_abandoned = False

    def left(self) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self.begun + self.seconds - time.monotonic())

    def start(self) -> None:
        """Note that a thread has taken it."""
        self.check()
        self.started = time.monotonic()

    def waited(self) -> float:
        """Return the seconds until a thread took it, or until now."""
        return (self.started or time.monotonic()) - self.begun

    def abandon(self) -> None:
        """End it at its next piece, because nobody waits for it."""
        self.is_abandoned = True

    def check(self) -> None:
        """Check that the answer is still wanted.

        Raises:
            RequestError: It is not, or the time is over.
        """
        if self.is_abandoned or not self.left():
            raise self.too_late()

    def too_late(self) -> RequestError:
        """Return the refusal of a request whose time is over."""
        if self.started is None:
            return busy(
                f"no thread was free within the {self.seconds:g} s of --timeout: send the request again later"
            )
        return RequestError(
            413,
            f"the request takes longer than the {self.seconds:g} s of --timeout: send fewer rows at a time",
        )
