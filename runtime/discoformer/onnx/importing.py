"""Import onnxruntime, with its telemetry off.

From version 1.29 on, onnxruntime sends usage data over the network, unless ``ORT_DISABLE_TELEMETRY`` is in
the environment when it is first imported. This package uses no network, so it sets the variable. A value that
the user has set stays.
"""

import os
from typing import Any

from discoformer.errors import require

_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Return the module ``onnxruntime``. If it was imported before with telemetry on, most of that ends.

    Raises:
        MissingExtraError: It is not installed.
    """
    if os.environ.setdefault(_SWITCH, "1") not in ("0", ""):
        ort = require("onnxruntime")
        ort.disable_telemetry_events()
        return ort
    return require("onnxruntime")
