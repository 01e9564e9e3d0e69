"""Metrics in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one service.

    Args:
        held: Returns how many requests are at work or wait.
        threads: Threads of the service.
    """

    def __init__(self, held: Callable[[], int], threads: int) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "discoformer_requests", "Requests by model and status.", ["model", "status"], registry=registry
        )
        self._rows = Counter("discoformer_rows", "Queries that were answered.", ["model"], registry=registry)
        self._seconds = Histogram(
            "discoformer_request_seconds",
            "From the headers of a request to its answer.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._waited = Histogram(
            "discoformer_wait_seconds",
            "From the headers of a request until a thread took it.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        Gauge("discoformer_held_requests", "Requests at work or waiting.", registry=registry).set_function(
            held
        )
        Gauge("discoformer_threads", "Threads that answer requests.", registry=registry).set(threads)

    def count(self, model: str, status: int, seconds: float, waited: float | None, rows: int) -> None:
        """Count a request for a model that is served; the name is empty if there is no such model."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)
        if waited is not None:
            self._waited.labels(model).observe(waited)
        if rows:
            self._rows.labels(model).inc(rows)

    def text(self) -> bytes:
        """Return all metrics."""
        content: bytes = generate_latest(self._registry)
        return content
