"""Tails: with any heads and any base, what holds within the outermost context point, at it, and beyond."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.base import tails
from discoformer.base.base import Base, evaluate_base
from discoformer.base.independent import IndependentMixture
from discoformer.base.mixture import Components
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.tails import STEEPEST, Answer, across, answer_base, radius_of, with_tails
from discoformer.io.inputs import Floats

FEW = settings(deadline=None, max_examples=25, derandomize=True)
RAYS = 6


class Setting(NamedTuple):
    """Heads and a base that know nothing of each other, and rays of length R."""

    heads: Answer
    base: Answer
    radius: float
    edge: Floats  # (RAYS, D)


def draw_base(rng: np.random.Generator, dim: int) -> Base[Floats]:
    """Long and short components, at and around the centre, and a product in every second base."""
    means = rng.normal(size=(1, 5, dim)) * rng.choice([0.1, 1.0, 3.0])
    factors = np.exp(rng.normal(size=(1, 5, 1, dim))) * np.linalg.qr(rng.normal(size=(1, 5, dim, dim)))[0].mT
    components = Components(rng.normal(size=(1, 5)), means, factors, 1 + np.exp(2 * rng.normal(size=(1, 5))))
    shape = 1, dim, 3
    product = IndependentMixture(
        rng.normal(size=(1, dim, dim)) + 2 * np.eye(dim),
        rng.normal(size=shape),
        rng.normal(size=shape),
        np.exp(rng.normal(size=shape)),
        1 + np.exp(2 * rng.normal(size=shape)),
    )
    return Base(components, product, rng.choice([0.0, 0.4], size=1))


def evaluated(base: Base[Floats], points: Floats) -> tuple[Floats, Floats]:
    found = evaluate_base(base, points[None])
    return found.log_density[0], found.score[0]


@st.composite
def cases(draw: st.DrawFn) -> Setting:
    rng, dim = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.integers(1, 5))
    wave, turn, size = rng.normal(size=dim), rng.normal(size=(dim, dim)), draw(st.sampled_from([0.1, 5.0]))

    def heads(points: Floats) -> tuple[Floats, Floats]:
        log_density = -np.log1p(np.square(points).sum(1)) + size * np.sin(points @ wave)
        return log_density, -points + size * np.cos(points @ turn)

    radius = draw(st.sampled_from([0.3, 2.0, 40.0]))
    rays = rng.normal(size=(RAYS, dim))
    edge = radius * rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return Setting(heads, partial(evaluated, draw_base(rng, dim)), radius, edge)


def answered(at: Setting, points: Floats) -> tuple[Floats, Floats]:
    return with_tails(at.heads, at.base, at.radius, points)


def ray_points(at: Setting, stretch: Floats) -> Floats:
    """Points (n RAYS, D) at n multiples of R, ray after ray."""
    return (stretch[:, None] * at.edge[:, None]).reshape(-1, at.edge.shape[1])


@FEW
@given(cases())
def test_within_the_radius_the_heads_answer_to_the_bit(at: Setting) -> None:
    inside, far = ray_points(at, np.array([0.0, 0.5, 1 - 1e-12])), ray_points(at, np.array([1.5, 3.0]))
    points = np.r_[inside, far]
    for found, expected in zip(answered(at, points), at.heads(points), strict=True):
        np.testing.assert_array_equal(found[: len(inside)], expected[: len(inside)])


@FEW
@given(cases())
def test_the_log_density_falls_along_a_ray_wherever_the_base_does(at: Setting) -> None:
    points = ray_points(at, np.r_[np.geomspace(1, 10, 100), np.geomspace(11, 1e6, 60)])
    found, base = (
        np.diff(answer(points)[0].reshape(RAYS, -1)) for answer in (partial(answered, at), at.base)
    )
    told = np.abs(base) > 1e-9 * (1 + np.abs(at.base(points)[0]).max())
    np.testing.assert_array_equal(found[told] < 0, base[told] < 0)


@FEW
@given(cases())
def test_beyond_the_radius_the_score_along_a_ray_is_the_slope(at: Setting) -> None:
    points, step = ray_points(at, np.geomspace(1.001, 1e5, 40)), 1e-5
    score = answered(at, points)[1]
    ahead, behind = (answered(at, (1 + sign * step) * points)[0] for sign in (1, -1))
    length = np.linalg.norm(points, axis=1)
    along = (score * points).sum(1) / length
    error = np.abs((ahead - behind) / (2 * step * length) - along)
    assert (error < 1e-3 * np.linalg.norm(score, axis=1) + 1e-4 / length).all()


@FEW
@given(cases())
def test_nothing_jumps_at_the_radius_where_the_heads_point_inward(at: Setting) -> None:
    """And less than ten times as steep as the base. Where they point outward, the slope begins at 0."""
    (inside, score), (outside, beyond) = (answered(at, x * at.edge) for x in (1, 1 + 1e-12))
    np.testing.assert_allclose(outside, inside, atol=1e-7)
    np.testing.assert_allclose(across(beyond, at.edge), across(score, at.edge), atol=1e-6)
    ratio = (score * at.edge).sum(1) / (at.base(at.edge)[1] * at.edge).sum(1)
    continuous = (ratio > 0) & (ratio < STEEPEST)
    np.testing.assert_allclose(beyond[continuous], score[continuous], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose((beyond * at.edge).sum(1)[ratio <= 0], 0, atol=1e-6)


@FEW
@given(cases())
def test_heads_that_are_the_base_have_its_tails(at: Setting) -> None:
    points = ray_points(at, np.geomspace(0.5, 1e4, 20))
    for found, expected in zip(with_tails(at.base, at.base, at.radius, points), at.base(points), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@FEW
@given(cases())
def test_what_depends_on_the_direction_alone_is_carried_outward_exactly(at: Setting) -> None:
    """T = log b + sin(v . z / |z|): the whole score is the gradient, also across the rays."""
    v = np.arange(1.0, 1 + at.edge.shape[1])

    def heads(points: Floats) -> tuple[Floats, Floats]:
        log_density, score = at.base(points)
        length = np.linalg.norm(points, axis=1, keepdims=True)
        turned = across(np.broadcast_to(v, points.shape), points) / length
        return log_density + np.sin(points @ v / length[:, 0]), score + np.cos(points @ v / length[:, 0])[
            :, None
        ] * turned

    points = ray_points(at, np.geomspace(1.1, 1e3, 10))
    for found, expected in zip(with_tails(heads, at.base, at.radius, points), heads(points), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@FEW
@given(cases(), st.integers(0, 2**32))
def test_they_turn_with_the_frame(at: Setting, seed: int) -> None:
    dim = at.edge.shape[1]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]

    def turned(answer: Answer, points: Floats) -> tuple[Floats, Floats]:
        log_density, score = answer(points @ turn.T)
        return log_density, score @ turn

    points = ray_points(at, np.geomspace(0.5, 100, 20))
    heads, base = partial(turned, at.heads), partial(turned, at.base)
    expected, slope = answered(at, points)
    found, score = with_tails(heads, base, at.radius, points @ turn)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(score @ turn.T, slope, rtol=1e-5, atol=1e-6 * np.abs(slope).max())


@FEW
@given(cases())
def test_as_far_out_as_float32_reaches_the_slope_is_that_of_the_base(at: Setting) -> None:
    points = ray_points(at, np.array([1e8, 1e12]))
    log_density, score = answered(at, points)
    assert np.isfinite(log_density).all()
    along, of_base = ((values * points).sum(1) for values in (score, at.base(points)[1]))
    np.testing.assert_allclose(along, of_base, rtol=1e-6)


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_fast_base_is_the_base(monkeypatch: pytest.MonkeyPatch, dim: int, share: float) -> None:
    """To rounding in float32, in any number of blocks."""
    monkeypatch.setattr(tails, "_BLOCK", 20 * 3 * dim)
    rng = np.random.default_rng(dim)
    base = draw_base(rng, dim)._replace(product_share=np.array([share]))
    points = rng.normal(size=(50, dim)) * np.geomspace(0.1, 1e6, 50)[:, None]
    found, score = answer_base(base, MixtureAnswers(base.components), points)
    expected, slope = evaluated(base, points)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    size = np.linalg.norm(slope, axis=1, keepdims=True)
    np.testing.assert_allclose(score / size, slope / size, atol=1e-5)


def test_every_context_point_is_within_the_radius_in_float32() -> None:
    context = np.random.default_rng(0).normal(size=(100, 3))
    radius = radius_of(context.astype(np.float32))
    assert 1 < radius / np.linalg.norm(context, axis=1).max() < 1 + 3e-6
