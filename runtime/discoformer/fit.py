"""From a sample to the inputs of a graph: frame, and the landmarks that the network reads.

A sample is read and checked, its rows are sorted, rounded values are spread within their cells, and its frame
is found (``read_sample``). Samples of one dimension share one run of a graph (``graph_inputs``).

Shapes: B data sets, N points, D dimensions.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.base.base import BASE
from discoformer.base.frame import Frame, fit_frame
from discoformer.base.hull import HullFrame, fit_frame_or_hull
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture import ABSENT
from discoformer.base.standardised import check_weights, order_of_present
from discoformer.deprecation import renamed_attribute
from discoformer.errors import InputError
from discoformer.io.inputs import Floats, Matrix, is_real, read_matrix, read_weights, shown
from discoformer.io.tables import Table
from discoformer.onnx.graphs import Encoded
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import CONTEXT, MIXTURE, STATES, Effort, check_effort
from discoformer.onnx.placement import Device
from discoformer.onnx.sessions import Float32s
from discoformer.table.cells import Atoms, Cells, Rounding, doubts_about, find_cells, read_rounding, spread
from discoformer.table.contamination import Contamination, clean
from discoformer.table.dependent import DOUBT, are_dependent

OnStage: TypeAlias = Callable[[str], None]  # called with a few words at the start of each stage

_MOST_SIZE = 1e12  # effective size
_MOST_POINTS = 16_384  # of a sample that the mixture is fitted to: memory grows with them
_BATCH_FILL = 0.7  # least share of them that is not padding
_BATCH_PAIRS = 2**16  # most pairs of context points of one data set, summed, in a run of a graph
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

    data: Context  # the rows of positive weight that are not far out
    spread: Context  # (n, D) what is read of them: rounded values are spread within their cells
    z: Floats  # (n, D) the points of ``spread`` in the frame
    frame: Frame
    columns: tuple[str, ...] | None
    cells: Cells
    effort: Effort = "best"
    allow_singular: bool = False
    contamination: Contamination = Contamination()
    dependent: bool = False  # whether rounded columns are linear combinations of others

    def doubts(self) -> tuple[str, ...]:
        """Return one sentence for each reason to doubt an estimate from this sample."""
        return (
            *_doubts_about_size(self),
            *self.doubts_about_rows(),
            *self.singularity(),
            *_doubts_about_frame(self.frame),
            *doubts_about(self.cells, self.columns),
        )

    def doubts_about_rows(self) -> tuple[str, ...]:
        """Return one sentence if rows are far out, if rows repeat others, and if values look like codes."""
        ties = (self.contamination.doubt_of_ties,) if self.tied else ()
        return (*self.contamination.doubts, *ties)

    @property
    def tied(self) -> float:
        """The share of the rows that repeat others, where neither copies, cells nor few values explain it."""
        return self.contamination.tied if self.cells.empty and not self.cells.few_valued else 0.0

    def singularity(self) -> tuple[str, ...]:
        """Return one sentence if the sample is singular, or was before its columns were spread alone."""
        if isinstance(self.frame, HullFrame):
            return (self.frame.describe(self.columns),)
        return (DOUBT,) if self.dependent and not self.allow_singular else ()


@dataclass(frozen=True)
class Diagnostics:
    """What is known about a sample once it is read; ``Estimate.diagnose`` measures whether to trust it."""

    n: int  # rows of positive weight that are not far out
    dim: int  # columns
    effective_size: float  # Kish's (sum w)^2 / sum w^2, or as given; less by what is left out, or copied
    initialisation: str  # what the frame was found from, "whitened" or "standardised"
    shrinkage: float  # weight of the identity in the correlation matrix, 0 where n_eff >= 4 D
    landmarks: int  # points that the network reads: all rows (and copies), unless the sample is large
    device: str  # "cpu" or "cuda"
    warnings: tuple[str, ...]  # one sentence for each reason to doubt the estimate; empty if there is none
    effort: Effort = "best"  # how the sample was read, "fast" or "best"
    rank: int = 0  # dimension of the affine hull of the rows: dim, unless the sample is singular
    steps: tuple[float, ...] = ()  # (D,) to which values are rounded, data units; 0 where they are not
    atoms: tuple[Atoms, ...] = ()  # (D,) value and share of each atom of a column
    atom_widths: tuple[float, ...] = ()  # (D,) of the cells of atoms; 0 without any, or if they are left out
    few_valued: tuple[int, ...] = ()  # columns with fewer than sqrt(n) values
    copies: int = 1  # places within its cells at which each row is read
    left_out: float = 0.0  # share of the weight in rows that are not read, because they lie far out
    copied: float = 0.0  # share of the rows that repeat others, though their values are not rounded
    tied: float = 0.0  # share of the rows that repeat others, where cells or few values do not explain it
    codes: str = ""  # values that look like codes for missing values, with columns and rows

    seed = renamed_attribute("seed", "initialisation")


def read_sample(
    X: Any,
    weights: Any,
    effective_size: float | None = None,
    on_progress: OnStage = ignore,
    effort: Effort = "best",
    rounding: Rounding | Cells = None,
    allow_singular: bool = False,
) -> Sample:
    """Read a sample and find its frame; arguments and errors are those of ``Model.estimate``.

    By default values are read as they are. The cells may be known.
    """
    check_effort(effort)
    matrix = read_matrix("X", X)
    w = None if weights is None else read_weights(weights, len(matrix.values))
    order, w = order_of_present(matrix.values, w)
    if effective_size is not None:
        if not (is_real(effective_size) and 1 <= effective_size <= _MOST_SIZE):
            raise InputError(
                f"effective_size must be a number from 1 to {_MOST_SIZE:g}, got {shown(effective_size)}"
            )
        effective_size = float(effective_size)
    rows = order if not isinstance(X, Matrix | Table) or X.rows is None else X.rows[order]
    found = clean(matrix.values[order], w, effective_size, rows, matrix.columns)
    data, effective_size = Context(found.points, found.weights), found.effective_size
    check_weights(data.weights)
    if isinstance(rounding, Cells):
        cells = rounding
    else:
        cells = find_cells(*data, read_rounding(rounding, data.points.shape[1], matrix.columns))
    read, dependent = data, not cells.empty and are_dependent(*data)
    if not cells.empty:
        read = Context(*spread(*data, cells, dependent and allow_singular))
        kish = 1 / float(read.weights @ read.weights) / cells.copies
        effective_size = kish if effective_size is None else max(1.0, (1 - cells.left_out) * effective_size)
    on_progress(f"finding the frame of {len(data.points)} points")
    if allow_singular:
        frame = fit_frame_or_hull(*read, effective_size)
    else:
        frame = fit_frame(*read, effective_size, matrix.columns)
    if found.contamination.left_out:
        frame = replace(frame, log_share=math.log1p(-found.contamination.left_out))
    return Sample(
        data,
        read,
        frame.to_frame(read.points),
        frame,
        matrix.columns,
        cells,
        effort,
        allow_singular,
        found.contamination,
        dependent,
    )


def landmarks_of(sample: Sample, most: int) -> tuple[Floats, Floats]:
    """Return the points (n, D) that the network reads, in the frame, and the count (n,) of each.

    They are in the order of their radius, which does not depend on the units and the order of the columns.
    """
    size, order = np.array([sample.frame.effective_size]), by_radius(sample.z)
    found = take_landmarks(sample.z[None, order], sample.spread.weights[None, order], size, most)
    points, counts = (array[0] for array in found)
    if len(points) <= len(sample.z):
        return points, counts
    points, which = np.unique(points, axis=0, return_inverse=True)  # some were taken more than once
    merged = np.zeros(len(points))
    np.add.at(merged, which.ravel(), counts)
    return points, merged


def by_radius(z: Floats) -> npt.NDArray[np.intp]:
    """Return the order (n,) of points (n, D) by their distance from the origin."""
    return np.argsort(np.square(z).sum(axis=1), kind="stable")


def points_of(sample: Sample) -> tuple[Floats, Floats]:
    """Return the points (n, D) that the mixture is fitted to, in the frame, and the weight (n,) of each."""
    points, counts = landmarks_of(sample, _MOST_POINTS)
    return points, counts / counts.sum()


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
    all_points, weights = zip(*map(points_of, samples), strict=True)
    given = {
        "context": _padded([points for points, _ in read], repeat=True),
        "log_weights": log_weights_of([counts for _, counts in read]),
        "precision_root": np.stack([frame.precision_root for frame in frames]),
        "log_det_precision": np.array([frame.log_det_precision for frame in frames]),
        "effective_size": np.array([frame.effective_size for frame in frames]),
        "all_points": _padded(all_points, repeat=True),
        "all_log_weights": log_weights_of(weights),
    }
    return {name: array.astype(np.float32) for name, array in given.items()}


def log_weights_of(weights: Iterable[Floats]) -> Floats:
    """Return the log-weights (B, N) of weights (n,), scaled to sum 1. Those of padding are very low."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(_padded([w / w.sum() for w in weights]))
    return np.maximum(log_weights, np.finfo(np.float32).min)


def _padded(arrays: Sequence[Floats], repeat: bool = False) -> Floats:
    """Stack arrays (n, ...) as (B, N, ...), with zeros after the end of the shorter ones, or their last row.

    Absent points must not be zeros. The local statistics of a token at the centre of the frame, far from all
    points, are 0 / 0.
    """
    longest = max(len(array) for array in arrays)
    stacked = np.zeros((len(arrays), longest, *arrays[0].shape[1:]))
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
        if repeat:
            row[len(array) :] = array[-1]
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
    n, dim = sample.data.points.shape
    return Diagnostics(
        n=n,
        dim=dim,
        effective_size=sample.frame.effective_size,
        initialisation=sample.frame.initialisation,
        shrinkage=sample.frame.shrinkage,
        landmarks=landmarks,
        device=device,
        warnings=(
            *metadata.out_of_range(n, sample.frame.rank),
            *sample.doubts(),
            *metadata.doubts_about_landmarks(landmarks),
        ),
        effort=sample.effort,
        rank=sample.frame.rank,
        **sample.cells._asdict(),
        left_out=sample.contamination.left_out,
        copied=sample.contamination.copied,
        tied=sample.tied,
        codes=sample.contamination.codes,
    )


def _doubts_about_size(sample: Sample) -> Iterator[str]:
    size, n = sample.frame.effective_size, len(sample.data.points)
    if size > n * (1 + 1e-9):
        yield (
            f"effective_size is {size:g}, but X has only {n} rows of positive weight: the estimate will be "
            "overconfident."
        )


def _doubts_about_frame(frame: Frame) -> Iterator[str]:
    size, dim = frame.effective_size, frame.rank
    if frame.shrinkage > 0:
        yield (
            f"The effective size {size:.4g} is below 4 x {dim} columns: correlations are shrunk by "
            f"{frame.shrinkage:.2g}, and the estimate depends on how the columns are chosen."
        )
    elif frame.initialisation == "standardised":
        yield "The frame was found from standardised columns, so the estimate depends on how they are chosen."
