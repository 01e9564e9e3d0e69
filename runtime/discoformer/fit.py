"""From a sample to the inputs of a graph: frame, and the landmarks that the network reads.

A sample is read and checked, its rows are sorted, and its frame is found (``read_sample``). Samples of one
dimension share one run of a graph (``graph_inputs``).

Shapes: B data sets, N points, D dimensions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from discoformer.base.base import BASE
from discoformer.base.frame import Frame, fit_frame, present_rows
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture import ABSENT
from discoformer.deprecation import renamed_attribute
from discoformer.errors import InputError
from discoformer.io.inputs import Floats, describe_column, is_real, read_matrix, read_weights
from discoformer.onnx.graphs import Encoded
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import CONTEXT, MIXTURE, STATES, Effort, check_effort
from discoformer.onnx.sessions import Device, Float32s

OnStage: TypeAlias = Callable[[str], None]  # called with a few words at the start of each stage

_BATCH_FILL = 0.7  # least share of them that is not padding
_BATCH_PAIRS = 2**18  # most pairs of context points of one data set, summed, in a run of a graph
_OF_COORDINATES = {  # (B, D, J)
    name for name in BASE if name.startswith("product_") and name not in ("product_axes", "product_share")
}
_BATCH_DIM = 16  # with more columns, data sets are faster one by one


def ignore(*_progress: object) -> None:
    """Take a report of progress, and do nothing with it."""


class Context(NamedTuple):
    """Weighted points: a sample, or the landmarks of it that the network reads.

    Their order does not depend on the order of the rows.
    """

    points: Floats  # (n, D) data units
    weights: Floats  # (n,) of sum 1


class Sample(NamedTuple):
    """A sample, read and brought to its frame."""

    data: Context  # the rows of positive weight
    z: Floats  # (n, D) the same points in the frame
    frame: Frame
    columns: tuple[str, ...] | None
    effort: Effort = "best"

    def doubts(self) -> tuple[str, ...]:
        """Return one sentence for each reason to doubt an estimate from this sample."""
        return (*_doubts_about_size(self), *_doubts_about_frame(self.frame), *_doubts_about_values(self))


@dataclass(frozen=True)
class Diagnostics:
    """What is known about a sample once it is read; ``Estimate.diagnose`` measures whether to trust it."""

    n: int  # rows of positive weight
    dim: int  # columns
    effective_size: float  # Kish's (sum w)^2 / sum w^2, or as given
    initialisation: str  # what the frame was found from, "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 where n_eff >= 4 D
    landmarks: int  # rows that the network reads: all, unless the sample is large
    device: str  # "cpu" or "cuda"
    warnings: tuple[str, ...]  # one sentence for each reason to doubt the estimate; empty if there is none
    effort: Effort = "best"  # how the sample was read, "fast" or "best"

    seed = renamed_attribute("seed", "initialisation")


def read_sample(
    X: Any,
    weights: Any,
    effective_size: float | None = None,
    on_progress: OnStage = ignore,
    effort: Effort = "best",
) -> Sample:
    """Read a sample and find its frame; arguments and errors are those of ``Model.estimate``."""
    check_effort(effort)
    matrix = read_matrix("X", X)
    w = None if weights is None else read_weights(weights, len(matrix.values))
    data = Context(*present_rows(matrix.values, w))
    if effective_size is not None:
        if not (is_real(effective_size) and 1 <= effective_size < np.inf):
            raise InputError(f"effective_size must be a finite number, 1 or more, got {effective_size!r}")
        effective_size = float(effective_size)
    on_progress(f"finding the frame of {len(data.points)} points")
    frame = fit_frame(*data, effective_size, matrix.columns)
    return Sample(data, frame.to_frame(data.points), frame, matrix.columns, effort)


def landmarks_of(sample: Sample, most: int) -> tuple[Floats, Floats]:
    """Return the points (n, D) that the network reads, in the frame, and the count (n,) of each."""
    size = np.array([sample.frame.effective_size])
    found = take_landmarks(sample.z[None], sample.data.weights[None], size, most)
    points, counts = (array[0] for array in found)
    if len(points) <= len(sample.z):
        return points, counts
    points, which = np.unique(points, axis=0, return_inverse=True)  # some were taken more than once
    merged = np.zeros(len(points))
    np.add.at(merged, which.ravel(), counts)
    return points, merged


def groups(samples: Sequence[Sample]) -> Iterator[list[int]]:
    """Split samples into groups to encode together: of one dimension, of similar size, and not too large.

    Returns:
        Indices of the samples of each group.
    """
    order = sorted(range(len(samples)), key=lambda i: samples[i].z.shape[::-1])
    group: list[int] = []
    points = 0
    for i in order:
        n, dim = samples[i].z.shape
        padded = (len(group) + 1) * n
        fits = padded * n <= _BATCH_PAIRS and points + n >= _BATCH_FILL * padded and dim <= _BATCH_DIM
        if group and not (fits and samples[group[0]].z.shape[1] == dim):
            yield group
            group, points = [], 0
        group.append(i)
        points += n
    if group:
        yield group


def graph_inputs(samples: Sequence[Sample], read: Sequence[tuple[Floats, Floats]]) -> dict[str, Float32s]:
    """Return the inputs of the mixture graph for B data sets, given their landmarks."""
    frames = [sample.frame for sample in samples]
    given = {
        "context": _padded([points for points, _ in read]),
        "log_weights": log_weights_of([counts for _, counts in read]),
        "precision_root": np.stack([frame.precision_root for frame in frames]),
        "log_det_precision": np.array([frame.log_det_precision for frame in frames]),
        "effective_size": np.array([frame.effective_size for frame in frames]),
        "all_points": _padded([sample.z for sample in samples]),
        "all_log_weights": log_weights_of([sample.data.weights for sample in samples]),
    }
    return {name: array.astype(np.float32) for name, array in given.items()}


def log_weights_of(weights: Iterable[Floats]) -> Floats:
    """Return the log-weights (B, N) of weights (n,), scaled to sum 1. Those of padding are very low."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(_padded([w / w.sum() for w in weights]))
    return np.maximum(log_weights, np.finfo(np.float32).min)


def _padded(arrays: Sequence[Floats]) -> Floats:
    """Stack arrays (n, ...) as (B, N, ...), with zeros after the end of the shorter ones."""
    longest = max(len(array) for array in arrays)
    stacked = np.zeros((len(arrays), longest, *arrays[0].shape[1:]))
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked


def one_of(index: int, n: int, arrays: Mapping[str, Float32s]) -> Encoded:
    """Take one data set of n context points out of an encoded batch, without padding."""
    present = np.flatnonzero(arrays["component_log_scale"][index] > 0.5 * ABSENT)
    of_coordinates = np.flatnonzero((arrays["product_log_scale"][index] > 0.5 * ABSENT).any(axis=0))
    kept = {"context": (1, np.arange(n)), "log_weights": (1, np.arange(n))}
    kept |= {name: (2, np.arange(n)) for name in STATES[:2]}
    kept |= {name: (1, present) for name in BASE if name.startswith("component_")}
    kept |= dict.fromkeys(_OF_COORDINATES, (2, of_coordinates))
    return Encoded(
        {
            name: array[index : index + 1].take(kept[name][1], kept[name][0])
            if name in kept
            else array[index : index + 1].copy()
            for name, array in arrays.items()
            if name in (*CONTEXT, *STATES)
        }
    )


def one_mixture_of(index: int, n: int, arrays: Mapping[str, Float32s]) -> Encoded:
    """Take the mixture of one data set of n context points out of a batch, without components of padding."""
    kept = {"context": np.arange(n), "log_weights": np.arange(n)} | dict.fromkeys(MIXTURE, np.r_[:n, -1])
    return Encoded({name: arrays[name][index : index + 1, rows] for name, rows in kept.items()})


def diagnostics_of(sample: Sample, metadata: Metadata, device: Device, landmarks: int) -> Diagnostics:
    """Return what is known about a sample, given the metadata of a model and how many landmarks it reads."""
    n, dim = sample.z.shape
    return Diagnostics(
        n=n,
        dim=dim,
        effective_size=sample.frame.effective_size,
        initialisation=sample.frame.initialisation,
        shrinkage=sample.frame.shrinkage,
        landmarks=landmarks,
        device=device,
        warnings=(
            *metadata.out_of_range(n, dim),
            *sample.doubts(),
            *metadata.doubts_about_landmarks(landmarks),
        ),
        effort=sample.effort,
    )


def few_valued(points: Floats, rounding: float = 0.0) -> list[int]:
    """Return the columns of points (n, D) that take fewer than sqrt(n) different values.

    Values that differ by no more than ``rounding`` times the range of their column are the same.
    """
    steps = np.diff(np.sort(points, axis=0), axis=0)
    values = 1 + np.count_nonzero(steps > rounding * np.ptp(points, axis=0), axis=0)  # (D,)
    found: list[int] = np.flatnonzero(values**2 < len(points)).tolist()
    return found


def name_few_valued(points: Floats, columns: Sequence[str] | None, rounding: float = 0.0) -> str:
    """Return what messages call the columns that take few values; empty if there are none."""
    return ", ".join(describe_column(j, columns) for j in few_valued(points, rounding))


def _doubts_about_size(sample: Sample) -> Iterator[str]:
    size, n = sample.frame.effective_size, len(sample.z)
    if size > n * (1 + 1e-9):
        yield (
            f"effective_size is {size:g}, but X has only {n} rows of positive weight: the estimate will be "
            "overconfident."
        )


def _doubts_about_frame(frame: Frame) -> Iterator[str]:
    size, dim = frame.effective_size, len(frame.center)
    if frame.shrinkage > 0:
        yield (
            f"The effective size {size:.4g} is below 4 x {dim} columns: correlations are shrunk by "
            f"{frame.shrinkage:.2g}, and the estimate depends on how the columns are chosen."
        )
    elif frame.initialisation == "standardised":
        yield "The frame was found from standardised columns, so the estimate depends on how they are chosen."


def _doubts_about_values(sample: Sample) -> Iterator[str]:
    if names := name_few_valued(sample.data.points, sample.columns):
        yield (
            f"X takes few values in {names}: such data have no density, and answers depend on rounding. "
            "Leave these columns out, or estimate separately for each of their values."
        )
