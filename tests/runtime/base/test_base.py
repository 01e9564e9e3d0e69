"""The base: components and product, blended as their ELBO says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.base.base import ABSENT, BASE, Base, evaluate_base, fit_base, log_odds_of
from discoformer.base.frame import fit_frame
from discoformer.base.independent import evaluate_product
from discoformer.base.mixture import evaluate
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=8, derandomize=True)


def fit(x: Floats, weights: Floats | None = None) -> tuple[Base, Floats]:
    """The base of one context (N, D), and its points in the frame."""
    frame = fit_frame(x, weights)
    z = frame.to_frame(x)
    w = np.ones(len(x)) if weights is None else weights
    size, log_det = np.array([frame.effective_size]), np.array([frame.log_det_precision])
    return fit_base(z[None], (w / w.sum())[None], size, frame.precision_root[None], log_det), z


def log_odds(x: Floats) -> float:
    return float(fit(x)[0].log_odds[0])


def test_independent_coordinates_make_a_product_and_clusters_do_not(rng: np.random.Generator) -> None:
    mixing = rng.normal(size=(5, 5))
    assert log_odds(rng.laplace(size=(800, 5)) @ mixing) > 3
    clusters = 4 * rng.normal(size=(4, 5))[rng.integers(4, size=800)] + rng.normal(size=(800, 5))
    assert log_odds(clusters @ mixing) == ABSENT


def test_there_is_no_product_of_one_coordinate_or_of_few_points(rng: np.random.Generator) -> None:
    assert log_odds(rng.laplace(size=(500, 1))) == ABSENT
    assert log_odds(rng.laplace(size=(19, 5))) == ABSENT


def test_log_odds_rise_with_the_elbo_from_nothing_to_nearly_all() -> None:
    gain = np.array([-np.inf, -1e3, 0.0, 30.0, 60.0, 1e3])
    found = log_odds_of(gain, np.full(6, 100.0), 4)
    assert (np.diff(found) >= 0).all()
    assert (found[:2] == ABSENT).all()
    np.testing.assert_allclose(1 / (1 + np.exp(-found[-1])), 0.98)
    assert (log_odds_of(gain, np.full(6, 15.0), 4) == ABSENT).all()


@pytest.mark.parametrize("odds", [ABSENT, -1.3, 0.4, 3.0])
def test_it_is_the_mixture_of_both(rng: np.random.Generator, odds: float) -> None:
    base, z = fit(rng.laplace(size=(300, 3)))
    base = base._replace(log_odds=np.array([odds]))
    y = np.r_[z[:20], 10 * z[20:40]][None]
    found, share = evaluate_base(base, y), 0.5 + 0.5 * np.tanh(odds / 2)
    both = (
        (1 - share) * np.exp(evaluate(base.components, y).log_density),
        share * np.exp(evaluate_product(base.product, y).log_density),
    )
    np.testing.assert_allclose(np.exp(found.log_density), sum(both), rtol=1e-9)
    np.testing.assert_allclose(found.product_share, both[1] / sum(both), atol=1e-12)
    step = 1e-5
    for j, e in enumerate(step * np.eye(3)):
        ahead, behind = (evaluate_base(base, y + sign * e).log_density for sign in (1, -1))
        np.testing.assert_allclose(found.score[..., j], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


def test_its_arrays_have_names_and_come_back(rng: np.random.Generator) -> None:
    base, _ = fit(rng.normal(size=(60, 2)))
    given = base.to_inputs()
    assert tuple(given) == BASE
    again = Base.from_inputs(given).each(lambda array: array)
    assert again.to_inputs() == given


@FEW
@given(n=st.integers(2, 300), dim=st.integers(1, 6), power=st.integers(-3, 3), seed=st.integers(0, 99))
def test_affine_maps_of_the_data_do_not_matter(n: int, dim: int, power: int, seed: int) -> None:
    if n < 4 * dim:
        return
    rng = np.random.default_rng(seed)
    x = rng.laplace(size=(n, dim))
    linear = 10.0**power * (np.eye(dim) + 0.3 * rng.normal(size=(dim, dim)))
    (base, z), (moved, moved_z) = fit(x), fit(x @ linear + 7)
    np.testing.assert_allclose(moved.log_odds, base.log_odds, rtol=1e-4)
    found, expected = (evaluate_base(*pair).log_density for pair in ((moved, moved_z[None]), (base, z[None])))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "x",
    [
        np.array([[-1.0], [1.0]]),
        np.repeat([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], 20, axis=0),
        np.r_[np.random.default_rng(0).normal(size=(100, 2)), [[1e12, 0.0]]],
        np.random.default_rng(0).normal(size=(10, 40)),
        np.random.default_rng(0).standard_cauchy(size=(500, 2)),
        np.random.default_rng(0).integers(3, size=(300, 4)).astype(float),
        np.c_[np.arange(300.0) % 2, np.random.default_rng(0).normal(size=300)],
    ],
    ids=["two points", "duplicates", "an outlier", "n < d", "Cauchy", "lattice", "binary"],
)
def test_awkward_contexts_give_finite_answers(x: Floats) -> None:
    for weights in (None, np.geomspace(1e-12, 1, len(x))):
        base, z = fit(x, weights)
        for y in (z, 1e6 * z):
            found = evaluate_base(base, y[None])
            assert all(np.isfinite(field).all() for field in found)
