"""``DensityEstimate`` has the interface of ``scipy.stats.gaussian_kde``, with the same shapes."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats

import discoformer
from discoformer.errors import DegenerateDataError, InputError, ModelNotFoundError
from discoformer.onnx.finding import DEFAULT_NAME, find_folder
from discoformer.scipy import DensityEstimate

try:
    find_folder(DEFAULT_NAME)
except ModelNotFoundError as error:
    pytest.skip(f"the default model is not there: {error}", allow_module_level=True)


@pytest.fixture(params=[(100,), (1, 100), (2, 100), (3, 100)], ids=str)
def dataset(request: pytest.FixtureRequest, rng: np.random.Generator) -> Any:
    return rng.normal(size=request.param) + 1


@pytest.mark.parametrize("weighted", [False, True])
def test_attributes_are_those_of_scipy(dataset: Any, weighted: bool) -> None:
    weights = np.arange(100) if weighted else None
    ours, theirs = DensityEstimate(dataset, weights=weights), stats.gaussian_kde(dataset, weights=weights)
    assert (ours.d, ours.n) == (theirs.d, theirs.n)
    assert ours.neff == pytest.approx(theirs.neff)
    np.testing.assert_allclose(ours.weights, theirs.weights)
    np.testing.assert_array_equal(ours.dataset, theirs.dataset)


@pytest.mark.parametrize(
    "points_of",
    [
        lambda d: np.ones((d, 7)),
        lambda d: np.ones((d, 1)),
        lambda d: np.ones((1, d)),  # a single point as a row, which SciPy accepts too
        np.ones,
        lambda d: [0.5] * d,
        lambda d: np.linspace(0, 1, 7) if d == 1 else np.zeros(d),
        lambda d: 0.5 if d == 1 else np.zeros((d, 0)),
        lambda d: np.ones((d, 7), np.float32),
        lambda d: np.ones((d, 7), int),
    ],
)
def test_shapes_are_those_of_scipy(dataset: Any, points_of: Any) -> None:
    ours, theirs = DensityEstimate(dataset), stats.gaussian_kde(dataset)
    points = points_of(ours.d)
    for method in ("__call__", "evaluate", "pdf", "logpdf"):
        answer, wanted = getattr(ours, method)(points), getattr(theirs, method)(points)
        assert answer.shape == wanted.shape
        assert answer.dtype == wanted.dtype
    assert ours.score(points).shape == (ours.d, *wanted.shape)


@pytest.mark.parametrize("kde", [DensityEstimate, stats.gaussian_kde])
def test_rows_for_points_are_refused_as_in_scipy(kde: Any, rng: np.random.Generator) -> None:
    rows = rng.normal(size=(100, 3))
    with pytest.raises(ValueError, match="transpos"):
        kde(rows)
    fitted = kde(rows.T)
    for points in (np.ones((7, 3)), np.ones(2), np.ones((2, 3))):
        with pytest.raises(ValueError, match="points"):
            fitted(points)
    with pytest.raises(ValueError, match="weights"):
        kde(rows.T, weights=np.ones(3))


def test_values_on_a_gaussian(rng: np.random.Generator) -> None:
    root = np.array([[2.0, 0.0], [1.5, 0.5]])
    data, points = (root @ rng.normal(size=(2, n)) for n in (400, 200))
    truth = stats.multivariate_normal(cov=root @ root.T)
    ours, theirs = DensityEstimate(data), stats.gaussian_kde(data)
    ours_off, theirs_off = (
        np.abs(kde.logpdf(points) - truth.logpdf(points.T)).mean() for kde in (ours, theirs)
    )
    assert ours_off < min(0.2, theirs_off)
    assert np.abs(ours(points) - theirs(points)).mean() < 0.2 * theirs(points).mean()
    slope = -np.linalg.solve(root @ root.T, points)
    assert np.linalg.norm(ours.score(points) - slope) < 0.3 * np.linalg.norm(slope)


def test_answers_are_those_of_the_estimate(rng: np.random.Generator, kde: discoformer.Model) -> None:
    data, weights = rng.normal(size=(2, 60)), np.arange(60)
    estimate, ours = kde.estimate(data.T, weights), DensityEstimate(data, weights=weights, model=kde)
    np.testing.assert_array_equal(ours.logpdf(data), estimate.log_density(data.T))
    np.testing.assert_array_equal(ours.pdf(data), estimate.density(data.T))
    np.testing.assert_array_equal(ours.score(data), estimate.score(data.T).T)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours))(data), ours(data))


@pytest.mark.parametrize("bw_method", ["scott", 0.3, lambda kde: 1.0])
def test_a_bandwidth_is_refused(rng: np.random.Generator, bw_method: Any) -> None:
    with pytest.raises(InputError, match=r"bw_method must be None, got .* no bandwidth"):
        DensityEstimate(rng.normal(size=100), bw_method)


def test_errors_speak_of_the_arrays_as_they_were_given(rng: np.random.Generator) -> None:
    data = rng.normal(size=(2, 100))
    kde = DensityEstimate(data)
    with pytest.raises(InputError, match=r"nan in row 0, column 1.*\(here Y is points\.T\)"):
        kde([[1.0], [np.nan]])
    with pytest.raises(InputError, match=r"shape \(2, M\), or \(2,\) for a single point, got \(100, 2\)"):
        kde(data.T)
    data[1] = 0
    with pytest.raises(DegenerateDataError, match=r"constant in column 1.*\(here X is dataset\.T\)"):
        DensityEstimate(data)


def test_scipy_is_not_needed() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['scipy', 'sklearn', 'pandas']))\n"
        "from discoformer.scipy import DensityEstimate as gaussian_kde\n"
        "print(gaussian_kde([1.0, 2.0, 4.0, 8.0, 9.0, 9.5, 10.0, 12.0]).logpdf([3.0, 4.0]).shape)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout == "(2,)\n"


def test_masked_entries_are_refused() -> None:
    x = np.ma.masked_greater(np.random.default_rng(0).normal(size=(2, 50)), 1.5)
    with pytest.raises(discoformer.InputError, match="masked"):
        DensityEstimate(x)
