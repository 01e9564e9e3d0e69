"""Run two functions at the same time."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def both(here: Callable[[], A], beside: Callable[[], B]) -> tuple[A, B]:
    """Call ``here`` in this thread and ``beside`` in another one, and return both results.

    If no thread can be started, as when the interpreter shuts down, call one after the other.
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
