"""The sample of a fitted density, as it is held: its rows, what is read of them, and its landmarks.

Shapes: N rows of the sample, n landmarks, M queries, D dimensions.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from discoformer.base.frame import Frame
from discoformer.base.hull import HullFrame
from discoformer.fit import Context, Diagnostics
from discoformer.io.inputs import Floats
from discoformer.onnx.graphs import Encoded, Graphs
from discoformer.table.cells import Cells


class Reading(NamedTuple):
    """How the network reads a sample."""

    most: int  # landmarks, at most
    complete: bool  # whether the landmarks are the whole sample
    allow_singular: bool = False  # whether samples may be singular


class EncodingModel(Protocol):
    """A model that can encode: a ``discoformer.Model``."""

    @property
    def graphs(self) -> Graphs:
        """Its graphs."""


class HeldSample:
    """A sample, encoded by a model.

    Attributes:
        model: The ``discoformer.Model`` that encoded it.
        frame: The affine map to the coordinates in which the network sees the data.
        diagnostics: What is known about the sample.
        columns: Names of the columns of the sample, if it had any.
        encoded: What the answers are computed from: what the query graph takes in, or a mixture.
    """

    def __init__(
        self,
        model: EncodingModel,
        frame: Frame,
        encoded: Encoded,
        diagnostics: Diagnostics,
        columns: tuple[str, ...] | None,
        data: Context | None,
        reading: Reading,
        spread: Context | None = None,
    ) -> None:
        for array in (*(data or ()), *(spread or ())):
            array.setflags(write=False)
        self.model: Any = model
        self.frame = frame
        self.diagnostics = diagnostics
        self.columns = columns
        self.encoded = encoded
        self._data = data
        self._spread = spread
        self._reading = reading

    @property
    def reading(self) -> Reading:
        """How the network reads the sample."""
        return self._reading

    @property
    def is_singular(self) -> bool:
        """Whether the density is one on the affine hull of the rows, and 0 elsewhere."""
        return isinstance(self.frame, HullFrame)

    def off_hull(self, queries: Floats) -> npt.NDArray[np.bool_]:
        """Return which queries (M, D) are off the affine hull of a singular sample."""
        if isinstance(self.frame, HullFrame):
            return self.frame.is_off(queries)
        return np.zeros(len(queries), bool)

    @property
    def most_landmarks(self) -> int:
        """Largest number of rows that the network reads."""
        return self._reading.most

    @property
    def landmarks_are_sample(self) -> bool:
        """Whether the network reads the whole sample."""
        return self._reading.complete

    @property
    def holds_sample(self) -> bool:
        """Whether ``data`` is the whole sample. It is not after ``save(sample=False)`` of a large one."""
        return self._data is not None or self._reading.complete

    @property
    def data(self) -> Context:
        """The rows of positive weight and their weights; of the landmarks alone without ``holds_sample``."""
        return self.landmarks if self._data is None else self._data

    @property
    def spread(self) -> Context:
        """What is read of ``data``: rounded values are spread within their cells, in ``copies`` places."""
        return self.data if self._spread is None else self._spread

    @property
    def is_spread(self) -> bool:
        """Whether ``spread`` is not ``data``."""
        return self._spread is not None and not self.cells.empty

    @property
    def copies(self) -> int:
        """How many points of ``spread``, one after another, stand for a row."""
        return self.diagnostics.copies if self.is_spread else 1

    @property
    def cells(self) -> Cells:
        """What is not continuous in the columns of the sample."""
        return Cells(*(getattr(self.diagnostics, name) for name in Cells._fields))

    @property
    def z(self) -> Floats:
        """The points (N, D) of ``spread`` in frame coordinates."""
        return self.frame.to_frame(self.spread.points)

    @property
    def size(self) -> float:
        """The effective size of ``spread``."""
        size = self.diagnostics.effective_size
        return size if self.holds_sample else min(size, float(self.diagnostics.landmarks))

    @property
    def landmarks(self) -> Context:
        """The points that the network reads, and their weights: all of the sample, unless it is large.

        The network reads them in float32, in the frame.
        """
        arrays = self.encoded.arrays
        points = self.frame.to_data(arrays["context"][0].astype(float))
        weights = np.exp(arrays["log_weights"][0].astype(float))
        return Context(points, weights / weights.sum())
