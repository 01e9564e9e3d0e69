"""Samples: contexts read, checked and brought to their frames, one or many, ready for the encode graph.

Shapes: B data sets, N points, D dimensions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.base.base import Base, fit_base
from discoformer.base.frame import Frame, fit_frame, present_rows
from discoformer.base.independent import Product
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture import ABSENT, Components
from discoformer.errors import InputError
from discoformer.io.inputs import Floats, describe_column, is_real, read_matrix, read_weights
from discoformer.onnx.graphs import Encoded
from discoformer.onnx.sessions import Float32s

Say: TypeAlias = Callable[[str], None]

_BATCH_POINTS = 2**16  # padded context points of the data sets that are encoded together, at most
_BATCH_FILL = 0.7  # share of them that is not padding, at least
_BATCH_DIM = 16  # columns from which on data sets are quicker one by one


def say_nothing(*_said: object) -> None:
    """Leaves it unsaid."""


class Sample(NamedTuple):
    """A context, read and brought to its frame."""

    z: Floats  # (n, D) points of positive weight
    w: Floats  # (n,) their weights, of sum 1
    frame: Frame
    columns: tuple[str, ...] | None
    few_valued: str  # the columns that take few values, as messages call them; empty where there are none

    def doubts(self) -> tuple[str, ...]:
        """One sentence for each cause of doubt."""
        size, n = self.frame.effective_size, len(self.w)
        worth = (
            f"effective_size is {size:g}, more than the {n} rows of positive weight can be worth: the "
            "answers are surer than they should be"
        )
        doubts = _doubts_about_frame(self.frame) + _doubts_about_values(self.few_valued)
        return (worth, *doubts) if size > n * (1 + 1e-9) else doubts


def read_sample(X: Any, weights: Any, effective_size: float | None = None, say: Say = say_nothing) -> Sample:
    """Reads a context; arguments and errors are those of ``Model.estimate``."""
    matrix = read_matrix("X", X)
    points, w = present_rows(
        matrix.values, None if weights is None else read_weights(weights, len(matrix.values))
    )
    if effective_size is not None and not (is_real(effective_size) and 1 <= effective_size < np.inf):
        raise InputError(f"effective_size must be a finite number, 1 or more, got {effective_size!r}")
    effective_size = None if effective_size is None else float(effective_size)
    say(f"finding the frame of {len(w)} points")
    frame = fit_frame(points, w, effective_size, matrix.columns)
    return Sample(frame.to_frame(points), w, frame, matrix.columns, _few_valued(points, matrix.columns))


def landmarks_of(sample: Sample, most: int) -> tuple[Floats, Floats]:
    """The points (n, D) that the network reads, and what each counts for (n,)."""
    size = np.array([sample.frame.effective_size])
    points, counts = (found[0] for found in take_landmarks(sample.z[None], sample.w[None], size, most))
    if len(points) <= len(sample.z):
        return points, counts
    points, which = np.unique(points, axis=0, return_inverse=True)  # some were taken more than once
    merged = np.zeros(len(points))
    np.add.at(merged, which.ravel(), counts)
    return points, merged


def base_of_samples(samples: list[Sample], say: Say = say_nothing) -> Base:
    """The base of samples that have one dimension."""
    sizes = np.array([sample.frame.effective_size for sample in samples])
    z, w = (_padded([getattr(sample, name) for sample in samples]) for name in ("z", "w"))
    roots = np.stack([sample.frame.precision_root for sample in samples])
    log_dets = np.array([sample.frame.log_det_precision for sample in samples])
    say(f"fitting the base to {w.shape[1]} points")
    return fit_base(z, w, sizes, roots, log_dets)


def groups(samples: list[Sample]) -> Iterator[list[int]]:
    """Which samples are encoded together: of one dimension, of similar size, not too many."""
    order = sorted(range(len(samples)), key=lambda i: samples[i].z.shape[::-1])
    group: list[int] = []
    points = 0
    for i in order:
        n, dim = samples[i].z.shape
        padded = (len(group) + 1) * n
        fits = padded <= _BATCH_POINTS and points + n >= _BATCH_FILL * padded and dim <= _BATCH_DIM
        if group and not (fits and samples[group[0]].z.shape[1] == dim):
            yield group
            group, points = [], 0
        group.append(i)
        points += n
    if group:
        yield group


def graph_inputs(frames: list[Frame], base: Base, read: list[tuple[Floats, Floats]]) -> dict[str, Float32s]:
    """The inputs of the encode graph, for frames, base and landmarks of B data sets."""
    weights = _padded([counts / counts.sum() for _, counts in read])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    given = {
        "context": _padded([points for points, _ in read]),
        "log_weights": np.maximum(log_weights, np.finfo(np.float32).min),  # padding has none
        "precision_root": np.stack([frame.precision_root for frame in frames]),
        "log_det_precision": np.array([frame.log_det_precision for frame in frames]),
        "effective_size": np.array([frame.effective_size for frame in frames]),
    } | base.to_inputs()
    return {name: array.astype(np.float32) for name, array in given.items()}


def _padded(arrays: list[Floats]) -> Floats:
    """Arrays (n, ...) stacked (B, N, ...), zeros after the end of the shorter ones."""
    longest = max(len(array) for array in arrays)
    stacked = np.zeros((len(arrays), longest, *arrays[0].shape[1:]))
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked


def one_of(index: int, n: int, arrays: Mapping[str, Float32s]) -> Encoded:
    """One data set of n context points out of a batch."""
    present = np.flatnonzero(arrays["component_log_scale"][index] > 0.5 * ABSENT)
    of_coordinates = np.flatnonzero((arrays["product_log_scale"][index] > 0.5 * ABSENT).any(axis=0))
    kept = {"context": (1, np.arange(n)), "log_weights": (1, np.arange(n))}
    kept |= {name: (2, np.arange(n)) for name in ("scalars", "vectors")}
    kept |= {f"component_{field}": (1, present) for field in Components._fields}
    kept |= {f"product_{field}": (2, of_coordinates) for field in Product._fields[1:]}
    return Encoded(
        {
            name: array[index : index + 1].take(kept[name][1], kept[name][0])
            if name in kept
            else array[index : index + 1].copy()
            for name, array in arrays.items()
        }
    )


def _few_valued(points: Floats, columns: tuple[str, ...] | None) -> str:
    values = 1 + np.count_nonzero(np.diff(np.sort(points, axis=0), axis=0), axis=0)  # (D,) different ones
    return ", ".join(describe_column(j, columns) for j in np.flatnonzero(values**2 < len(points)).tolist())


def _doubts_about_values(few_valued: str) -> tuple[str, ...]:
    if not few_valued:
        return ()
    return (
        f"X takes few values in {few_valued}: such data have no density, and answers depend on rounding. "
        "Leave these columns out, or estimate for each of their values.",
    )


def _doubts_about_frame(frame: Frame) -> tuple[str, ...]:
    """One sentence for each way in which the frame is less than exact."""
    size, dim = frame.effective_size, len(frame.center)
    if frame.shrinkage > 0:
        return (
            f"The effective size {size:.4g} is below 4 x {dim} columns: correlations are shrunk by "
            f"{frame.shrinkage:.2g}, and the estimate depends on how the columns are chosen.",
        )
    if frame.seed == "standardised":
        return (
            "The frame was found from standardised columns, so the estimate depends on how these are chosen.",
        )
    return ()
