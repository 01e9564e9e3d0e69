"""Which execution providers run the nodes of a graph, by the profile that onnxruntime writes."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from discoformer.errors import ModelError
from discoformer.io.files import read_file

_MOST = 2**28  # largest size of a profile


def nodes_by_provider(session: Any) -> Counter[str]:
    """Return how many nodes each provider ran since a session was opened, and end its profile.

    Args:
        session: Opened with ``Placement.profiles``.
    """
    events = json.loads(read_file(Path(session.end_profiling()), _MOST, ModelError))
    placed = ((event["name"], event.get("args", {}).get("provider")) for event in events)
    return Counter(provider for _, provider in {*placed} if provider)
