"""What the estimators share: models that are loaded once, and validated queries."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from discoformer.model import Model, find_folder, load
from discoformer.onnx.sessions import Device

WIDTHS = (np.float64, np.float32)  # accepted dtypes; the estimates have the dtype of the input


def queries(estimator: Any, X: Any, **options: Any) -> Any:
    """Validate rows (M, D) for a fitted estimator.

    Args:
        estimator: The estimator.
        X: Array-like (M, D) with the columns seen in ``fit``.
        options: Further options of ``sklearn.utils.validation.validate_data``.

    Raises:
        ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``.
        NotFittedError: ``fit`` was not called.
    """
    check_is_fitted(estimator)
    return validate_data(estimator, X, dtype=WIDTHS, reset=False, **options)


def load_once(estimator: Any) -> Model:
    """Load the model that an estimator names once for all fits, and again if its files have changed."""
    folder = find_folder(estimator.model)
    changed = tuple(path.stat().st_mtime_ns for path in _graphs(folder))
    return _load_cached(folder, estimator.device, estimator.threads, changed)


def _graphs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


@lru_cache(maxsize=4)
def _load_cached(folder: Path, device: Device, threads: int | None, changed: tuple[int, ...]) -> Model:
    return load(folder, device, threads)
