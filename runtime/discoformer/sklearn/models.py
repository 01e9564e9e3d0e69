"""Models for the estimators, each loaded once."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from discoformer.model import Model, find_folder, load
from discoformer.onnx.sessions import Device

WIDTHS = (np.float64, np.float32)  # answers have the width of what comes in


def load_once(model: str | os.PathLike[str], device: Device, threads: int | None) -> Model:
    """Loads a model once for all fits, and again when its files have changed."""
    folder = find_folder(model)
    return _load_cached(folder, device, threads, tuple(path.stat().st_mtime_ns for path in _graphs(folder)))


def _graphs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


@lru_cache(maxsize=4)
def _load_cached(folder: Path, device: Device, threads: int | None, changed: tuple[int, ...]) -> Model:
    return load(folder, device, threads)
