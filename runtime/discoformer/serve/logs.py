"""Logs of the service on stderr: one JSON object a line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("discoformer.serve")


class _Json(logging.Formatter):
    """Time, level and message, and what the call has in ``extra={"about": {...}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def start_logs() -> None:
    """Send the records of the service and of its web server to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    for logger in (LOGGER, logging.getLogger("uvicorn")):
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # the service says itself what it does


def log(message: str, level: int = logging.INFO, **about: Any) -> None:
    """Write a line."""
    LOGGER.log(level, message, extra={"about": about})
