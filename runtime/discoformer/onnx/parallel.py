"""Two things at once."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def both(here: Callable[[], A], beside: Callable[[], B]) -> tuple[A, B]:
    """Calls one function here and another in a thread beside it, and waits for both.

    One after the other where no thread can be started any more, as at the end of the interpreter.
    """
    coming: Future[B] = Future()

    def work() -> None:
        try:
            coming.set_result(beside())
        except BaseException as error:
            coming.set_exception(error)

    thread = Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return here(), beside()
    try:
        found = here()
    finally:
        thread.join()
    return found, coming.result()
