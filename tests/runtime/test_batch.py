"""Many contexts at once: each is estimated as if it were alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import discoformer
from discoformer import fit as module

SHAPES = st.lists(st.tuples(st.integers(2, 40), st.integers(1, 3)), max_size=6)


@pytest.fixture(scope="module")
def released() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


def assert_alike(batch: list[discoformer.Estimate], alone: list[discoformer.Estimate], atol: float) -> None:
    assert len(batch) == len(alone)
    for ours, theirs in zip(batch, alone, strict=True):
        assert ours.diagnostics == theirs.diagnostics
        y = np.random.default_rng(1).normal(size=(7, ours.diagnostics.dim))
        for got, want in zip(ours.log_density_and_score(y), theirs.log_density_and_score(y), strict=True):
            np.testing.assert_allclose(got, want, atol=atol, rtol=atol)


@settings(deadline=None, max_examples=8, derandomize=True)
@given(shapes=SHAPES, seed=st.integers(0, 9))
@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")  # a few rows only
def test_a_batch_is_one_by_one(released: discoformer.Model, shapes: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    contexts = [10.0**scale * rng.normal(size=shape) + scale for scale, shape in enumerate(shapes)]
    weights = [rng.random(len(x)) + 0.1 if len(x) % 2 else None for x in contexts]
    alone = [released.estimate(x, w) for x, w in zip(contexts, weights, strict=True)]
    for one in alone:  # in units of each context
        assert np.isfinite(one.log_density(np.zeros((1, one.diagnostics.dim)))).all()
    assert_alike(released.estimate_batch(contexts, weights), alone, atol=1e-4)


def test_groups_hold_every_context_once_and_little_padding(rng: np.random.Generator) -> None:
    shapes = [
        (int(n), int(d)) for n, d in zip(rng.integers(2, 200, 200), rng.integers(14, 19, 200), strict=True)
    ]
    samples = [module.Sample(None, None, np.empty(shape), None, None, None) for shape in shapes]  # type: ignore[arg-type]
    groups = list(module.groups(samples))
    assert sorted(i for group in groups for i in group) == list(range(200))
    assert len(groups) < 150
    for group in (group for group in groups if len(group) > 1):
        sizes = [shapes[i][0] for i in group]
        assert {shapes[i][1] for i in group} == {shapes[group[0]][1]}
        assert shapes[group[0]][1] <= module._BATCH_DIM
        assert sum(sizes) >= module._BATCH_FILL * max(sizes) * len(sizes)
        assert max(sizes) ** 2 * len(sizes) <= module._BATCH_PAIRS


def test_landmarks_in_a_batch(released: discoformer.Model, rng: np.random.Generator) -> None:
    contexts = [rng.normal(size=(n, 2)) for n in (90, 100, 70)]
    batch = released.estimate_batch(contexts, landmarks=80)
    assert [p.diagnostics.landmarks for p in batch] == [80, 80, 70]
    assert_alike(batch, [released.estimate(x, landmarks=80) for x in contexts], atol=1e-4)


def test_arrays_and_generators_are_batches_too(kde: discoformer.Model, rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(3, 20, 2)), rng.random((3, 20))
    alone = [kde.estimate(*pair) for pair in zip(x, w, strict=True)]
    assert_alike(kde.estimate_batch(x, w), alone, atol=1e-5)
    assert_alike(kde.estimate_batch(iter(x), iter(w)), alone, atol=1e-5)


@pytest.mark.parametrize(("sizes", "dim"), [((90, 70, 80), 1), ((90, 70, 80), 3), ((28, 21, 23, 25), 3)])
def test_contexts_with_and_without_a_product(
    released: discoformer.Model, sizes: tuple[int, ...], dim: int
) -> None:
    """A product needs 8 D = 24 points. Padding of the others is removed from what each keeps."""
    contexts = [np.random.default_rng(n).exponential(size=(n, dim)) for n in sizes]
    assert len(list(module.groups([module.read_sample(x, None) for x in contexts]))) == 1
    batch, alone = released.estimate_batch(contexts), [released.estimate(x) for x in contexts]
    assert_alike(batch, alone, atol=1e-3)
    for p, one, n in zip(batch, alone, sizes, strict=True):
        for name, array in p.encoded.arrays.items():
            np.testing.assert_allclose(array, one.encoded.arrays[name], atol=1e-2, err_msg=name)
        assert p.base.components.means.shape == (1, n + 1, dim)
        has_product = dim > 1 and n >= 8 * dim
        assert p.base.product.means.shape == (1, dim, n + 1 if has_product else 1)
        assert has_product or not p.base.product_share


def test_what_is_wrong_is_named(kde: discoformer.Model, rng: np.random.Generator) -> None:
    good = rng.normal(size=(20, 2))
    with pytest.raises(discoformer.DegenerateDataError, match=r"contexts\[1\]: X must have 2 rows"):
        kde.estimate_batch([good, good[:1]])
    with pytest.raises(discoformer.InputError, match=r"contexts\[2\]: X must be finite"):
        kde.estimate_batch([good, good, good * np.nan])
    with pytest.raises(discoformer.InputError, match="each of the 2 contexts, got 1"):
        kde.estimate_batch([good, good], [None])
    assert kde.estimate_batch([]) == []


def test_the_ranges_are_warned_of_once(released: discoformer.Model, rng: np.random.Generator) -> None:
    with pytest.warns(discoformer.RangeWarning, match="5 rows, outside") as caught:
        released.estimate_batch([rng.normal(size=(5, 2)) for _ in range(3)])
    assert len(caught) == 1
    assert caught[0].filename == __file__
