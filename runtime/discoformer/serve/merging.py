"""Small requests to one saved estimate that wait at the same time are answered by one run of the network.

With ``effort="best"`` a run for one query takes as long as one for ten. No request waits for others: a thread
that is free takes those that are there. Answers then differ in rounding, by which others were there.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import numpy as np

from discoformer.serve.answering import Answered, Call, answer, composed, read
from discoformer.serve.jobs import Job
from discoformer.serve.limits import Limits
from discoformer.serve.messages import Request
from discoformer.serve.served import Answer, ServedEstimate, answers_at, named
from discoformer.serve.workers import Workers

SMALL = 2**14  # most bytes of a request that is merged with others
MOST = 64  # most requests of a run

Waiting = deque[tuple[Call, "Future[Answered]"]]


class Merger:
    """Answers calls by threads, small ones to the same estimate together.

    Args:
        workers: The threads.
        limits: Limits of the service.
    """

    def __init__(self, workers: Workers, limits: Limits) -> None:
        self.workers, self.limits = workers, limits
        self._waiting: dict[str, Waiting] = {}

    def submit(self, call: Call) -> "Future[Answered]":
        """Have a thread answer a call."""
        if not is_small(call):
            return self.workers.submit(partial(answer, call, self.limits))
        future: Future[Answered] = Future()
        waiting = self._waiting.setdefault(call.served.name, deque())
        waiting.append((call, future))
        self.workers.submit(partial(self._answer_some, waiting))
        return future

    def _answer_some(self, waiting: Waiting) -> None:
        """Answer calls that wait; there may be none, if another thread has taken them."""
        taken: list[tuple[Call, Future[Answered]]] = []
        while waiting and len(taken) < MOST:
            try:
                call, future = waiting.popleft()
            except IndexError:  # another thread took it just now
                break
            if future.set_running_or_notify_cancel():
                taken.append((call, future))
        readable: list[tuple[Call, Future[Answered], Request]] = []
        for call, future in taken:
            try:
                readable.append((call, future, read(call, self.limits)))
            except Exception as error:
                future.set_exception(error)
        for width in (np.float64, np.float32):
            alike = [entry for entry in readable if entry[2].tensors["queries"].dtype == width]
            if alike:
                self._answer_together(alike)

    def _answer_together(self, calls: Sequence[tuple[Call, "Future[Answered]", Request]]) -> None:
        """Answer calls to one estimate whose queries have the same width."""
        served = calls[0][0].served
        assert isinstance(served, ServedEstimate)
        sizes = [len(request.tensors["queries"]) for _, _, request in calls]
        try:
            queries = np.concatenate([request.tensors["queries"] for _, _, request in calls])
            found = answers_at(served.estimate, queries, Job(self.limits.seconds))
        except Exception as error:
            for _, future, _ in calls:
                future.set_exception(error)
            return
        ends = np.cumsum(sizes)
        for (call, future, request), size, end in zip(calls, sizes, ends, strict=True):
            own = Answer(named(tuple(array[end - size : end] for array in found)))
            try:
                future.set_result(composed(call, request, own))
            except Exception as error:
                future.set_exception(error)


def is_small(call: Call) -> bool:
    """Return whether a call may be merged with others."""
    served = call.served
    return isinstance(served, ServedEstimate) and served.estimate.effort == "best" and len(call.body) <= SMALL
