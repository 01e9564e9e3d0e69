"""Estimates from data frames with text and missing values, and queries of them by name of the column."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pytest

import discoformer
from discoformer.errors import DataWarning, InputError

Floats = npt.NDArray[np.float64]
LIBRARIES = [pd.DataFrame, pl.DataFrame]


@pytest.fixture
def x(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(60, 3)) * [1, 5, 0.1] + [0, 7, 2]


def framed(library: Any, values: Floats, order: str = "abc", **others: Any) -> Any:
    """A data frame of the columns a, b and c, in an order of their own."""
    return library({name: values[:, "abc".index(name)] for name in order} | others)


@pytest.mark.parametrize("library", LIBRARIES)
def test_queries_go_by_name(kde: discoformer.Model, x: Floats, library: Any) -> None:
    p, q = kde.estimate(framed(library, x)), kde.estimate(x)
    for order, others in (("abc", {}), ("cab", {}), ("bca", {"note": ["text"] * 60, "d": [None] * 60})):
        queries = framed(library, x, order, **others)
        np.testing.assert_array_equal(p.log_density(queries), q.log_density(x))
        score = p.score(queries)
        assert list(score.columns) == ["a", "b", "c"]
        np.testing.assert_array_equal(score.to_numpy(), q.score(x))
        np.testing.assert_array_equal(p.consistency(queries), p.consistency(x))
        np.testing.assert_array_equal(p.modes(queries).labels, p.modes(x).labels)
    with pytest.raises(InputError, match="Y must have the columns 'a', 'b', 'c', but lacks 'b'"):
        p.log_density(framed(library, x, "ac"))
    np.testing.assert_array_equal(q.log_density(framed(library, x, "abc")), q.log_density(x))  # no names in X


@pytest.mark.parametrize("library", LIBRARIES)
def test_text_is_left_out_of_the_sample(kde: discoformer.Model, x: Floats, library: Any) -> None:
    frame = framed(library, x, species=["x", "y"] * 30)
    with pytest.warns(DataWarning, match=r"Left out 1 of 4 columns of X, .*: 'species' \(text\)"):
        p = kde.estimate(frame)
    assert p.columns == ("a", "b", "c")
    np.testing.assert_array_equal(p.log_density(frame), kde.estimate(x).log_density(x))


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_with_missing_values_are_dropped_and_counted(
    kde: discoformer.Model, x: Floats, library: Any
) -> None:
    x[[3, 5], [0, 2]] = np.nan
    kept, weights = ~np.isnan(x).any(axis=1), np.arange(60.0)
    frame = framed(library, x)
    for given in (None, weights):
        expected = kde.estimate(x[kept], None if given is None else given[kept])
        with pytest.warns(DataWarning, match=r"^Left out 2 of 60 rows of X, which have missing values\.$"):
            p = kde.estimate(frame, given)
        np.testing.assert_array_equal(p.log_density(x[kept]), expected.log_density(x[kept]))
    with pytest.warns(DataWarning, match=r"^2 of 60 rows of Y have missing values: their answers are NaN\.$"):
        log_density, score = p.log_density_and_score(frame)
    assert len(log_density) == len(score) == 60
    np.testing.assert_array_equal(np.isnan(log_density.to_numpy()), ~kept)
    np.testing.assert_array_equal(np.isnan(score.to_numpy()), np.repeat(~kept[:, None], 3, axis=1))
    np.testing.assert_array_equal(log_density.to_numpy()[kept], expected.log_density(x[kept]))
    with pytest.raises(InputError, match="X must be finite"):
        kde.estimate(frame, missing="error")
    with pytest.raises(InputError, match="Y must be finite"):
        p.score(frame, missing="error")


def test_arrays_must_be_complete_unless_it_is_asked_for(kde: discoformer.Model, x: Floats) -> None:
    x[3, 1] = np.nan
    expected = kde.estimate(np.delete(x, 3, axis=0))
    with pytest.raises(InputError, match="X must be finite"):
        kde.estimate(x)
    with pytest.raises(InputError, match="Y must be finite"):
        expected.density(x)
    with pytest.warns(DataWarning, match="Left out 1 of 60 rows"):
        p = kde.estimate(x, missing="drop")
    with pytest.warns(DataWarning, match="Left out 1 of 60 rows"):
        [q] = kde.estimate_batch([x], missing="drop")
    for other in (p, q):
        np.testing.assert_array_equal(other.score(x[:3]), expected.score(x[:3]))
    for method in ("network", "normalized", "sd_kde"):
        with pytest.warns(DataWarning, match="1 of 5 rows of Y"):
            found = p.density(x[:5], method, missing="drop")
        np.testing.assert_array_equal(found, np.insert(p.density(x[[0, 1, 2, 4]], method), 3, np.nan))


@pytest.mark.parametrize("library", [*LIBRARIES, None])
def test_the_marginal_of_the_values_that_are_present(
    mixture: discoformer.Model, x: Floats, library: Any
) -> None:
    p = mixture.estimate(x, effort="fast")
    holed, patterns = x[:7].copy(), [(), (0,), (1, 2), (2,), (0,), (0, 1, 2), ()]
    for row, absent in zip(holed, patterns, strict=True):
        row[list(absent)] = np.nan
    queries = holed if library is None else framed(library, holed)
    log_density, score = map(np.asarray, p.log_density_and_score(queries, missing="marginal"))
    for i, absent in enumerate(patterns):
        given = [j for j in range(3) if j not in absent]
        assert np.isnan(score[i]).tolist() == [j in absent for j in range(3)]
        if given:
            q = p.marginal(given, method="mixture")
            np.testing.assert_allclose(log_density[i], q.log_density(x[[i]][:, given])[0], rtol=1e-6)
            np.testing.assert_allclose(score[i, given], q.score(x[[i]][:, given])[0], rtol=1e-6)
    assert log_density[5] == 0  # the integral over all columns is 1
    integral = p.conditional({0: x[3, 0], 1: x[3, 1]}).normalization.log_integral
    assert log_density[3] == pytest.approx(integral, abs=1e-5)


def test_where_there_is_no_marginal(mixture: discoformer.Model, kde: discoformer.Model, x: Floats) -> None:
    holed = x.copy()
    holed[4, 0] = np.nan
    with pytest.raises(
        InputError, match="missing='marginal' needs effort='fast', but this estimate has effort='best'"
    ):
        kde.estimate(x).log_density(holed, missing="marginal")
    p = mixture.estimate(x, effort="fast")
    with pytest.raises(InputError, match="missing='marginal' needs method='network'"):
        p.log_density(holed, "sd_kde", missing="marginal")
    with pytest.raises(InputError, match="missing must be one of 'drop', 'error', 'marginal', got 'keep'"):
        p.score(holed, missing="keep")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="missing must be one of 'drop', 'error', got 'marginal'"):
        mixture.estimate(holed, missing="marginal")  # type: ignore[arg-type]
    holed[7, 2] = 1e200
    assert p.log_density(holed, missing="marginal").argmin() == 7


def test_no_row_is_complete(kde: discoformer.Model, x: Floats) -> None:
    x[::2, 0] = x[1::2, 2] = x[3, 0] = np.nan
    with pytest.raises(InputError, match=r"all 60 have missing values: .*, such as column 0 \('a'\) with 31"):
        kde.estimate(framed(pd.DataFrame, x))


@pytest.mark.parametrize("library", LIBRARIES)
def test_imputation_keeps_the_other_columns(kde: discoformer.Model, x: Floats, library: Any) -> None:
    p = kde.estimate(framed(library, x))
    holed = x[:9].copy()
    holed[2, 1] = np.nan
    queries = framed(library, holed, "cab", note=list("abcdefghi"))
    filled = p.impute(queries)
    assert list(filled.columns) == ["c", "a", "b", "note"]
    assert list(filled["note"]) == list("abcdefghi")
    np.testing.assert_array_equal(filled["b"], p.impute(holed)[:, 1])
    np.testing.assert_array_equal(filled["c"], x[:9, 2])


def test_a_column_without_an_entry(kde: discoformer.Model, x: Floats) -> None:
    p = kde.estimate(x)
    holed = x[:1].copy()
    holed[0, 2] = np.nan
    np.testing.assert_array_equal(p.impute(pd.DataFrame(holed)), p.impute(holed))  # of queries it is kept
    with pytest.warns(DataWarning, match=r"Left out 1 of 4 columns of X, .*: 'd' \(empty\)"):
        assert kde.estimate(framed(pd.DataFrame, x, d=[np.nan] * 60)).columns == ("a", "b", "c")
