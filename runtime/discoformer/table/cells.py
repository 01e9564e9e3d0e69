r"""Rounded values and atoms: what is not continuous in a column, and how such values are read.

A column is *rounded* if many values are equal and all, but for a few, are multiples of a step, up to an
offset. A rounded value stands for a cell: the interval around it, as wide as the step. An *atom* is a value
that many rows have in a column that is otherwise continuous or finer: the zeros of rain, or a limit at which
values are clipped. It has a probability, and no density.

``find_cells`` finds both from the values alone. ``spread`` moves rows evenly within their cells: their
density is that of the values before they were rounded. A row gets c copies. With ``r`` the place of the row
among those of its cell, between 0 and 1, the copies stand, in an order of their own for each column, at::

    x' = x + step ((k + r) / c - 1 / 2)          k = 0 .. c - 1          r evenly spaced, by weight

The order of the rows of a cell is drawn with a fixed seed, once rows and columns are sorted by codes of their
values. So shifts, positive scales, and the order of rows and columns do not matter. (Where a table stays the
same if columns are exchanged, the order of these columns decides which is drawn first.)

Shapes: n rows, D columns, c copies, k different values.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import InputError
from discoformer.io.features import feature_indices
from discoformer.io.inputs import Floats, describe_column, is_real
from discoformer.table.dependent import slopes_of

Rounding: TypeAlias = Literal["auto"] | Mapping[Any, float] | None  # steps by name or position of the column
Atoms: TypeAlias = tuple[tuple[float, float], ...]  # value and share of the weight of each atom of a column

FEWEST = 8  # rows in which anything is found
REPEATED = 0.1  # least share of rows that repeat a value of a rounded column
FINEST = 1000  # most steps in the middle half of the rows: a finer step changes nothing
OFF = 0.01  # a gap is a multiple of the step up to this share of the step
COARSER = np.arange(2, 11)  # factors by which the step of most values may be coarser than that of all
MOSTLY = 0.95  # least share of the rows for that, not counting those of the most frequent value
EPS = 4 * np.finfo(np.float64).eps  # relative difference of values that are equal
DIGITS = 12  # of a step; more are rounding errors
FLOAT32_BITS = 24  # of a significand
ATOM_ROWS, ATOM_SHARE = 10, 0.03  # least number and share of rows at an atom
ATOM_LEAD = 10  # further rows that it needs for each row that repeats a value next to it
ATOM_REST = 10  # least number of other values
MOST_ATOMS = 3  # of a column; more are values that were rounded more coarsely than others
# Of the cell of an atom without a step, over the range of the middle half of the other values. The network
# blurs narrower cells: at 1/16 the mean squared error of their log-probability is 0.09, at 1/64 0.76.
ATOM_WIDTH = 1 / 16
COPIES = 4  # most copies of a row; more gain nothing
ENOUGH = 512  # no further copies are made above this number of rows, copies included


class Cells(NamedTuple):
    """What is not continuous in the D columns of a sample, and how it is read."""

    steps: tuple[float, ...]  # of the rounding, data units; 0 where a column is not rounded
    atoms: tuple[Atoms, ...]
    atom_widths: tuple[float, ...]  # of the cells of atoms; 0 without atoms, or if they are left out
    few_valued: tuple[int, ...]  # columns with fewer than sqrt(n) values
    copies: int  # of each row

    def of(self, chosen: Sequence[int]) -> "Cells":
        """Return the cells of some columns."""
        steps = tuple(self.steps[j] for j in chosen)
        atoms = tuple(self.atoms[j] for j in chosen)
        widths = tuple(self.atom_widths[j] for j in chosen)
        few = tuple(i for i, j in enumerate(chosen) if j in self.few_valued)
        return Cells(steps, atoms, widths, few, self.copies if any(steps) else 1)

    @property
    def empty(self) -> bool:
        """Whether all values are read as they are."""
        return not (any(self.steps) or any(self.atoms))

    @property
    def left_out(self) -> float:
        """The share of the weight at atoms that have no cell."""
        left = zip(self.atoms, self.atom_widths, strict=True)
        return sum(share for atoms, width in left if not width for _, share in atoms)


def read_rounding(rounding: Any, dim: int, columns: tuple[str, ...] | None) -> dict[int, float]:
    """Return the steps that are given, by position of the column. Those of other columns are to be found.

    Args:
        rounding: ``"auto"``, None, or steps by position or name of the column; 0 reads values as they are.
        dim: Number of columns D.
        columns: Names of the columns, or None.

    Raises:
        InputError: ``rounding`` is neither, there is no such column, or a step is not a finite number of 0 or
            more.
    """
    if rounding is None:
        return dict.fromkeys(range(dim), 0.0)
    if isinstance(rounding, str) and rounding == "auto":
        return {}
    if not isinstance(rounding, Mapping):
        raise InputError(
            f"rounding must be 'auto', None, or a dict of columns and their steps, got {rounding!r}: use "
            "None to read values as they are"
        )
    for feature, step in rounding.items():
        if isinstance(step, bool) or not (is_real(step) and 0 <= step < np.inf):
            raise InputError(
                f"rounding must give a finite step of 0 or more for each column, got {step!r} for "
                f"{feature!r}: use 0 to read its values as they are"
            )
    positions = feature_indices("rounding", rounding, dim, columns) if rounding else ()
    return dict(zip(positions, map(float, rounding.values()), strict=True))


def find_cells(points: Floats, weights: Floats, given: Mapping[int, float], apart: bool = True) -> Cells:
    """Find the step and the atoms of each column of a sample.

    Args:
        points: (n, D), finite, data units.
        weights: (n,), positive, of sum 1.
        given: Steps that are known, by column; with 0, a column is read as it is.
        apart: Whether rows at atoms are left out, if there is one column.
    """
    rows, dim = points.shape
    if rows < 2:
        return Cells((0.0,) * dim, ((),) * dim, (0.0,) * dim, (), 1)
    ordered = np.sort(points, axis=0)
    new = _differ(ordered)
    repeated = 1 - (1 + np.count_nonzero(new, axis=0)) / rows
    steps, widths = [given.get(j, 0.0) for j in range(dim)], [0.0] * dim
    atoms: list[Atoms] = [()] * dim
    for j in np.flatnonzero((repeated >= ATOM_SHARE) & (rows >= FEWEST)).tolist():
        if given.get(j) == 0:
            continue
        found, step, width = _column(ordered[:, j], new[:, j])
        shares = weights @ _equal(points[:, j, None], found)
        atoms[j] = tuple(zip(found.tolist(), shares.tolist(), strict=True))
        steps[j] = given.get(j, step)
        widths[j] = (steps[j] or width) if found.size and (dim > 1 or not apart) else 0.0
    copies = max(1, min(COPIES, ENOUGH // rows)) if any(steps) else 1
    return Cells(tuple(steps), tuple(atoms), tuple(widths), tuple(few_valued(ordered)), copies)


def few_valued(points: Floats) -> list[int]:
    """Return the columns of points (n, D) that take fewer than sqrt(n) values, but more than one."""
    values = 1 + np.count_nonzero(_differ(np.sort(points, axis=0)), axis=0)  # (D,)
    found: list[int] = np.flatnonzero((values > 1) & (values**2 < len(points))).tolist()
    return found


def _slack(points: Floats) -> Floats:
    """Return the difference (D,) up to which values of points (n, D) are equal."""
    slack: Floats = EPS * np.abs(points).max(axis=0)
    return slack


def _differ(ordered: Floats) -> npt.NDArray[np.bool_]:
    """Return where values of sorted columns (n, D) differ from the one before, (n - 1, D)."""
    differ: npt.NDArray[np.bool_] = np.diff(ordered, axis=0) > _slack(ordered)
    return differ


def _equal(points: Floats, values: Floats) -> npt.NDArray[np.bool_]:
    """Return which points (n, 1) have which of some values (m,), (n, m)."""
    equal: npt.NDArray[np.bool_] = np.abs(points - values) <= _slack(points)
    return equal


def _column(ordered: Floats, new: npt.NDArray[np.bool_]) -> tuple[Floats, float, float]:
    """Return the atoms of a sorted column (n,), its step or 0, and the width of an atom without a step."""
    starts = np.flatnonzero(np.r_[True, new])
    values, counts = ordered[starts], np.diff(starts, append=len(ordered))
    atom = _are_atoms(counts)
    rest, of_rest = values[~atom], counts[~atom]
    repeated = 1 - len(rest) / of_rest.sum() >= REPEATED
    step = _step(rest, of_rest) if repeated and len(rest) > 1 else 0.0
    width = ATOM_WIDTH * (rest[3 * len(rest) // 4] - rest[len(rest) // 4])
    return values[atom], step, float(width)


def _are_atoms(counts: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which values are atoms, from the numbers of rows (k,) at sorted values."""
    padded, k = np.pad(counts, 2), len(counts)
    around = np.max([padded[shift : shift + k] for shift in (0, 1, 3, 4)], axis=0)
    needed = np.maximum(ATOM_ROWS + ATOM_LEAD * (around - 1), ATOM_SHARE * counts.sum())
    atoms = counts >= needed
    return atoms & (atoms.sum() <= min(MOST_ATOMS, k - ATOM_REST))


def _step(values: Floats, counts: npt.NDArray[np.intp]) -> float:
    """Return the step of sorted values (k,) that stand in ``counts`` rows each; 0 if they are not rounded.

    A few values may be off the multiples of the step. The precision of float32 is no rounding.
    """
    step, most = _common_step(values), counts.max()
    if not step:
        return 0.0
    places = np.rint((values - values[counts.argmax()]) / step)
    needed = most + MOSTLY * (counts.sum() - most)
    while (fits := counts @ (places[:, None] % COARSER == 0) >= needed).any():
        step, places = step * COARSER[fits][-1], places / COARSER[fits][-1]
    quarters = np.searchsorted(np.cumsum(counts), (0.25 * counts.sum(), 0.75 * counts.sum()))
    unit = np.ldexp(1.0, np.frexp(np.abs(values).max())[1] - FLOAT32_BITS)  # precision of float32
    of_float32 = step <= 2 * unit and not (values % (unit / 4)).any()
    too_fine = np.ptp(values[quarters]) > FINEST * step
    return 0.0 if of_float32 or too_fine else float(f"{step:.{DIGITS}g}")


def _common_step(values: Floats) -> float:
    """Return the greatest step of which the gaps of sorted values (k,) are multiples, or 0.

    This is Euclid's algorithm, with the remainders of all gaps.
    """
    gaps = np.diff(values)
    least, step = EPS * np.abs(values).max() / OFF, float(gaps.min())
    while step > least:
        multiples = np.rint(gaps / step)
        near = (multiples <= 1 / OFF) & (np.abs(gaps - step * multiples) <= OFF * step)
        step = float(gaps[near].sum() / multiples[near].sum()) if near.any() else step
        multiples = np.rint(gaps / step)
        left = np.abs(gaps - step * multiples)
        if (left <= OFF * step).all():
            return float(gaps.sum() / multiples.sum())
        step = float(left[left > OFF * step].min())
    return 0.0


def spread(points: Floats, weights: Floats, cells: Cells, together: bool = False) -> tuple[Floats, Floats]:
    """Spread rows evenly within the cells of their values.

    Args:
        points: (n, D), data units.
        weights: (n,), positive, of sum 1.
        cells: From ``find_cells``.
        together: Whether columns that depend on others move with them (see ``table.dependent``).

    Returns:
        Points (m c, D), the copies of a row one after another, and weights (m c,) of sum 1. Rows at atoms
        without a cell are left out. Without cells, these are the arguments themselves.
    """
    if cells.empty:
        return points, weights
    widths, kept = np.tile(cells.steps, (len(points), 1)), np.ones(len(points), bool)
    for j, (atoms, width) in enumerate(zip(cells.atoms, cells.atom_widths, strict=True)):
        at = _equal(points[:, j, None], np.array([value for value, _ in atoms])).any(axis=1)
        widths[at, j] = width
        kept &= ~at | (width > 0)
    points, weights, widths = points[kept], weights[kept] / weights[kept].sum(), widths[kept]
    places, columns = _places(points, weights, cells.copies, np.asarray((widths > 0).any(axis=0)))
    moves = widths[:, None] * places
    if together:
        moves = moves @ slopes_of(points, weights, np.array(cells.steps), columns)
    moved = points[:, None] + moves
    return moved.reshape(-1, points.shape[1]), np.repeat(weights / cells.copies, cells.copies)


def _places(
    points: Floats, weights: Floats, copies: int, wanted: npt.NDArray[np.bool_]
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the places (n, c, D) of the copies of rows in their cells, from -1/2 to 1/2.

    Args:
        points: (n, D).
        weights: (n,).
        copies: Number of copies c.
        wanted: Which columns (D,); in others the places are 0.

    Returns:
        The places, and the order (D,) in which columns are drawn.
    """
    rng, (n, dim) = np.random.default_rng(0), points.shape
    ranks = _ranks(points)
    codes: npt.NDArray[np.uint64] = rng.integers(2**63, size=(n,), dtype=np.uint64)[ranks]
    of_rows = (codes * codes.sum(axis=0)).sum(axis=1)
    of_rows ^= of_rows >> np.uint64(29)
    of_columns = (codes * of_rows[:, None]).sum(axis=0)
    rows, columns = np.lexsort((weights, of_rows)), np.argsort(of_columns, kind="stable")
    places = np.zeros((n, copies, dim))
    for j in columns[wanted[columns]]:
        order = rows[np.argsort(ranks[rows, j] + rng.random(n))]
        turns = np.argsort(rng.random((n, copies)), axis=1)
        within = _within(ranks[order, j], weights[order])
        places[order, :, j] = (turns + within[:, None]) / copies - 0.5
    return places, columns


def _ranks(points: Floats) -> npt.NDArray[np.intp]:
    """Return the rank (n, D) of each value among the different values of its column."""
    order = np.argsort(points, axis=0)
    new = _differ(np.take_along_axis(points, order, axis=0))
    ranks = np.zeros(points.shape, np.intp)
    np.put_along_axis(ranks, order[1:], np.cumsum(new, axis=0), axis=0)
    return ranks


def _within(ranks: npt.NDArray[np.intp], weights: Floats) -> Floats:
    """Return the place (n,) of each row among those of its rank, 0 to 1, in the middle of its weight."""
    first = np.flatnonzero(np.r_[True, np.diff(ranks) > 0])
    counts = np.diff(first, append=len(ranks))
    held = np.cumsum(weights)
    before, total = held[first] - weights[first], np.add.reduceat(weights, first)
    within: Floats = (held - weights / 2 - np.repeat(before, counts)) / np.repeat(total, counts)
    return within


def doubts_about(cells: Cells, columns: Sequence[str] | None) -> Iterator[str]:
    """Return one sentence for each reason why values are not what a density is about."""
    for j, (atoms, width) in enumerate(zip(cells.atoms, cells.atom_widths, strict=True)):
        name = describe_column(j, columns)
        for value, share in atoms:
            yield f"{share:.1%} of X has the value {value:.6g} in {name}, which is an atom: " + (
                f"these rows are spread over a cell of width {width:.3g}, on which the density there depends."
                if width
                else "it has a probability and no density. The density is that of the other rows."
            )
    names = {j: describe_column(j, columns) for j in cells.few_valued}
    if rounded := ", ".join(
        f"{name} with step {cells.steps[j]:.6g}" for j, name in names.items() if cells.steps[j]
    ):
        yield (
            f"X takes few values in {rounded}: they are read as rounded, and spread evenly over cells as "
            "wide as the step. If they are categories, estimate separately for each of them."
        )
    if others := ", ".join(name for j, name in names.items() if not cells.steps[j]):
        yield (
            f"X takes few values in {others}: such data have no density, and answers depend on rounding. "
            "Leave these columns out, or estimate separately for each of their values."
        )
