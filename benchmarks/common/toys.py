"""Toy data sets in the plane with labels, as used to show clustering methods."""

from collections.abc import Callable

import numpy as np
from sklearn import datasets

from benchmarks.common.data_sets import DataSet, Floats

Maker = Callable[[int, int], tuple[Floats, Floats]]  # from the number of points and a seed


def _anisotropic(n: int, seed: int) -> tuple[Floats, Floats]:
    points, labels = datasets.make_blobs(n, random_state=seed)
    return points @ [[0.6, -0.6], [-0.4, 0.8]], labels


def _banana(n: int, seed: int) -> tuple[Floats, Floats]:
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    return np.c_[x, x**2 + 0.4 * y], np.zeros(n)


TOYS: dict[str, Maker] = {
    "blobs": lambda n, seed: datasets.make_blobs(n, random_state=seed),
    "varied": lambda n, seed: datasets.make_blobs(n, cluster_std=[1.0, 2.5, 0.5], random_state=seed),
    "anisotropic": _anisotropic,
    "moons": lambda n, seed: datasets.make_moons(n, noise=0.08, random_state=seed),
    "circles": lambda n, seed: datasets.make_circles(n, factor=0.5, noise=0.06, random_state=seed),
    "banana": _banana,
}


def toy(name: str, n: int, seed: int) -> DataSet:
    """Draw n points of a toy set."""
    points, labels = TOYS[name](n, seed)
    return DataSet(points, labels.astype(np.int64))
