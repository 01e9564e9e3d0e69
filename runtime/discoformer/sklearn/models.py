"""What the estimators share: models that are loaded once, and validated rows.

Columns of a data frame that hold no numbers are left out. The others must have the names seen in ``fit``, in
the same order, as everywhere in scikit-learn.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from discoformer.errors import DataWarning, InputError, warn_caller
from discoformer.io.frames import column_names, columns_of, left_out, read_column
from discoformer.model import Model, load
from discoformer.onnx.finding import find_folder
from discoformer.onnx.placement import Device

WIDTHS = (np.float64, np.float32)  # accepted dtypes; the estimates have the dtype of the input


def queries(estimator: Any, X: Any, **options: Any) -> Any:
    """Validate rows (M, D) for a fitted estimator.

    Args:
        estimator: The estimator.
        X: Array-like (M, D) with the columns seen in ``fit``.
        options: Further options of ``sklearn.utils.validation.validate_data``.

    Raises:
        ValueError: X is not a matrix of finite numbers with the columns seen in ``fit``, in their order.
        NotFittedError: ``fit`` was not called.
    """
    check_is_fitted(estimator)
    numeric = _numeric(X)
    rows = validate_data(estimator, numeric, dtype=WIDTHS, reset=False, **options)
    names, seen = column_names(numeric), getattr(estimator, "feature_names_in_", None)
    if names is not None and seen is not None and names != tuple(seen):
        raise InputError(
            f"X has the feature names {names}, needed those seen in fit, {tuple(seen)}: select these columns "
            "in this order"
        )
    return rows


def sample_rows(estimator: Any, X: Any, **options: Any) -> Any:
    """Validate rows (N, D) to fit an estimator to; arguments are those of ``queries``.

    Raises:
        ValueError: X is not a matrix of finite numbers with 2 rows or more.

    Warns:
        DataWarning: Columns are left out because they hold no numbers.
    """
    numeric = _numeric(X)
    rows = validate_data(estimator, numeric, dtype=WIDTHS, ensure_min_samples=2, **options)
    if (names := column_names(numeric)) is not None:  # scikit-learn before 1.9 cannot read those of polars 2
        estimator.feature_names_in_ = np.array(names, dtype=object)
    return rows


def _numeric(X: Any) -> Any:
    """Return a data frame without its columns of text, categories or dates, and other data as they are."""
    columns = columns_of(X) or []
    kinds = dict(enumerate(read_column(column).kind for column in columns))
    others = {j: kind for j, kind in kinds.items() if kind not in ("", "empty")}
    if not others or len(others) == len(kinds):
        return X
    warn_caller(left_out("X", len(kinds), column_names(X), others), DataWarning)
    kept = [j for j in kinds if j not in others]
    if hasattr(X, "iloc"):
        return X.iloc[:, kept]
    return X.select(kept) if hasattr(X, "itercolumns") else X[:, kept]


def load_once(estimator: Any) -> Model:
    """Load the model that an estimator names once for all fits, and again if its files have changed."""
    folder = find_folder(estimator.model)
    changed = tuple(path.stat().st_mtime_ns for path in _graphs(folder))
    return _load_cached(folder, estimator.device, estimator.threads, changed)


def estimate_options(estimator: Any) -> dict[str, Any]:
    """Return the options that an estimator passes to ``Model.estimate``; columns are named by position."""
    names = list(getattr(estimator, "feature_names_in_", ()))
    rounding = estimator.rounding
    if isinstance(rounding, Mapping):
        rounding = {names.index(key) if key in names else key: step for key, step in rounding.items()}
    return {"effort": estimator.effort, "rounding": rounding, "allow_singular": estimator.allow_singular}


def _graphs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


@lru_cache(maxsize=4)
def _load_cached(folder: Path, device: Device, threads: int | None, changed: tuple[int, ...]) -> Model:
    return load(folder, device, threads)
