"""The closed form of a mixture in the JavaScript package, in a browser, against SciPy."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import kstest, t

Floats = npt.NDArray[np.float64]

OPEN = """async ([url, [logWeights, means, scales, freedom], given]) => {
  const [{ Mixture }, { Random }] = [await import(`${url}mixture.js`), await import(`${url}random.js`)];
  const arrays = Object.entries({ logWeights, means, scales, freedom });
  const floats = Object.fromEntries(arrays.map(([name, values]) => [name, Float64Array.from(values)]));
  const mixture = new Mixture(floats, 2);
"""
ASK = (
    OPEN
    + """
  const [logDensity, score] = [new Float64Array(given.length / 2), new Float64Array(given.length)];
  mixture.answer(Float64Array.from(given), logDensity, score);
  return [Array.from(logDensity), Array.from(score)];
}"""
)
DRAW = (
    OPEN
    + """
  return Array.from(mixture.draw(given[0], new Random(given[1])));
}"""
)


@pytest.fixture(scope="module")
def page(browser: Any, site: str) -> Iterator[Any]:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(site)
        yield page


@pytest.fixture(scope="module")
def modules(site: str) -> str:
    """The URL of the modules of the package."""
    return f"{site}discoformer/"


def random_mixture(count: int, freedom: float | None = None) -> list[Floats]:
    """Log-weights, means, scale matrices and degrees of freedom of narrow and wide components."""
    rng = np.random.default_rng(count)
    weights = rng.dirichlet(np.ones(count))
    roots = rng.normal(size=(count, 2, 2)) * np.exp(rng.uniform(-4, 1, (count, 1, 1)))
    free = np.exp(rng.uniform(0.01, 13, count)) if freedom is None else np.full(count, freedom)
    return [np.log(weights), 3 * rng.normal(size=(count, 2)), roots @ roots.mT + 1e-4 * np.eye(2), free]


def flat(mixture: list[Floats]) -> list[list[float]]:
    return [field.ravel().tolist() for field in mixture]


@pytest.mark.parametrize("count", [1, 2, 513])
def test_answers_are_those_of_scipy(
    page: Any, modules: str, closed_form: Callable[..., tuple[Floats, Floats]], count: int
) -> None:
    mixture = random_mixture(count)
    rng = np.random.default_rng(0)
    near = mixture[1][rng.integers(count, size=50)] + 0.01 * rng.normal(size=(50, 2))
    points = np.vstack([near, 5 * rng.normal(size=(50, 2)), 1e4 * rng.normal(size=(5, 2)), mixture[1][:1]])
    log_density, score = page.evaluate(ASK, [modules, flat(mixture), points.ravel().tolist()])
    expected, slope = closed_form(mixture, points)
    np.testing.assert_allclose(log_density, expected, rtol=1e-9, atol=1e-9)
    size = np.linalg.norm(slope, axis=1, keepdims=True)
    error = np.abs(np.reshape(score, (-1, 2)) - slope)
    assert (error <= 1e-8 * size + 1e-9).all()


@pytest.mark.parametrize("freedom", [1.1, 2.0, 5.0, 1e6])
def test_draws_are_from_the_mixture(page: Any, modules: str, freedom: float) -> None:
    log_weights, means, scales, free = mixture = random_mixture(4, freedom)
    drawn = np.reshape(page.evaluate(DRAW, [modules, flat(mixture), [5000, 1]]), (-1, 2))

    for side in np.array([[1, 0], [0, 1], [1, 1], [1, -2]]):  # marginals along these are mixtures too
        cdf = partial(t.cdf, df=free, loc=means @ side, scale=np.sqrt(side @ scales @ side))
        assert kstest(drawn @ side, lambda x, cdf=cdf: cdf(x[:, None]) @ np.exp(log_weights)).pvalue > 1e-3


def test_the_same_seed_gives_the_same_draws(page: Any, modules: str) -> None:
    mixture = flat(random_mixture(4))
    first, again, other = (page.evaluate(DRAW, [modules, mixture, [10, seed]]) for seed in (1, 1, 2))
    assert first == again
    assert first != other
