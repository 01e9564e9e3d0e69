"""Tensors of PyTorch: the same answers as to NumPy arrays, memory that is shared with onnxruntime, errors."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

import discoformer
from discoformer.errors import DegenerateDataError, InputError
from discoformer.io.inputs import Floats
from discoformer.io.tensors import check_device
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.sessions import on_device, run, taken
from discoformer.particles import Velocity, flow, heat, landau, ornstein_uhlenbeck, own_density

TOLERANCE = 1e-6  # the logarithms of the mixture are float32


@pytest.fixture(scope="module")
def released() -> discoformer.Model:
    return discoformer.load(device="cpu", threads=1)


@pytest.fixture
def x(rng: np.random.Generator) -> Floats:
    return rng.laplace(size=(150, 3)) * [1e3, 1, 1e-2] + [0, 5, 1]


@pytest.fixture
def y(x: Floats, rng: np.random.Generator) -> Floats:
    """Among the points, in the tails, and beyond what float32 holds; more than one chunk."""
    return x.mean(0) + x.std(0) * rng.normal(size=(1100, 3)) * np.geomspace(1, 1e16, 1100)[:, None]


def assert_same(tensors: tuple[Tensor, Tensor], arrays: tuple[Any, Any], tolerance: float) -> None:
    """Up to a tolerance, relative to the greatest entry of the row."""
    for tensor, array in zip(tensors, arrays, strict=True):
        assert isinstance(tensor, Tensor)
        size = 1 + np.abs(array).max(axis=tuple(range(1, array.ndim)), keepdims=True)
        np.testing.assert_array_less(np.abs(tensor.numpy() - array) / size, tolerance)


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_answers_are_those_to_arrays(released: discoformer.Model, x: Floats, y: Floats, effort: Any) -> None:
    """The sample too may be a tensor: it is read as the array."""
    p, q = released.estimate(torch.tensor(x), effort=effort), released.estimate(x, effort=effort)
    assert p.diagnostics == q.diagnostics
    expected = q.log_density_and_score(y)
    np.testing.assert_array_equal(p.log_density(y), expected[0])
    assert_same(p.log_density_and_score(torch.tensor(y)), expected, TOLERANCE)
    assert p.density(torch.tensor(y)).equal(p.log_density(torch.tensor(y)).exp())
    assert p.score(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("dtype", "width"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.float64),
    ],
)
def test_dtypes_and_strides(gaussian: discoformer.Model, x: Floats, dtype: Any, width: Any) -> None:
    y = torch.tensor(x).to(dtype)
    p = gaussian.estimate(x)
    expected = p.log_density(y.double().numpy())
    apart = torch.stack([y.T, y.T])[0].T[::2]
    assert not apart.is_contiguous()
    found = p.log_density(apart)
    assert found.dtype == width
    np.testing.assert_allclose(found.numpy(), expected[::2], rtol=1e-6)


def test_memory_is_shared_with_onnxruntime(kde: discoformer.Model, x: Floats) -> None:
    """So on a GPU nothing goes through the host. Answers are copied once, from float32 to float64."""
    p = kde.estimate(x)
    session = kde.graphs.files("best").sessions()[1]
    queries = torch.zeros(1, 8, 3)
    shared = on_device(session, {"queries": queries})
    assert shared["queries"].data_ptr() == queries.data_ptr()
    values = run(session, p.encoded.on_device(session) | shared)
    assert torch.from_dlpack(values["score"]).data_ptr() == values["score"].data_ptr()
    assert taken(values["score"], queries.double()).dtype == torch.float64
    held = p.encoded.on_device(session)
    p.log_density(torch.zeros(3, 3))
    assert p.encoded.on_device(session) is held  # the encoded sample stays on the device


@pytest.mark.parametrize("weighted", [False, True])
def test_one_run_of_one_graph(
    released: discoformer.Model, x: Floats, y: Floats, rng: np.random.Generator, *, weighted: bool
) -> None:
    w = rng.random(150) * (np.arange(150) % 7 > 0) if weighted else None
    near = y[:200]
    found = released.log_density_and_score(
        torch.tensor(x), torch.tensor(near), None if w is None else torch.tensor(w)
    )
    for tensor, array in zip(found, released.log_density_and_score(x, near, w), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
    assert_same(found, released.estimate(x, w, effort="fast").log_density_and_score(near), 5e-5)
    narrow = released.log_density_and_score(torch.tensor(x), torch.tensor(near).float())[1]
    assert narrow.dtype == torch.float32


@pytest.mark.parametrize("velocity", [heat(), landau(), ornstein_uhlenbeck(1.0, np.eye(2), [1.0, 2.0])])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_particles(
    released: discoformer.Model, velocity: Velocity, effort: Any, rng: np.random.Generator
) -> None:
    X = rng.normal(size=(60, 2))
    expected, found = (
        flow(start, velocity, 0.2, 1, own_density(released, effort)) for start in (X, torch.tensor(X))
    )
    assert_same((found.log_density, found.points), (expected.log_density, expected.points), 1e-5)
    assert found.entropy == pytest.approx(expected.entropy, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Y": torch.zeros(4, 3, requires_grad=True)}, r"got a tensor that does: pass Y.detach\(\)"),
        ({"Y": torch.zeros(3)}, r"got \(3,\): pass Y\[:, None\]"),
        ({"Y": torch.zeros(4, 2)}, r"3 columns like the sample X, got shape \(4, 2\)"),
        ({"Y": torch.zeros(4, 3, dtype=torch.complex64)}, "dtype complex64"),
        ({"Y": torch.tensor([[0, 0, 0], [0, torch.nan, 0]])}, "got nan in row 1, column 1"),
        ({"missing": "drop"}, "missing='drop' needs a NumPy array or a data frame"),
        ({"method": "sd_kde"}, "method='sd_kde' needs a NumPy array or a data frame"),
    ],
)
def test_what_is_refused(
    gaussian: discoformer.Model, x: Floats, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        gaussian.estimate(x).log_density(**{"Y": torch.zeros(4, 3)} | change)


def test_samples_that_are_refused(released: discoformer.Model, x: Floats) -> None:
    X, Y = torch.tensor(x), torch.zeros(4, 3, dtype=torch.float64)
    with pytest.raises(InputError, match=r"pass X.detach\(\)"):
        released.estimate(X.requires_grad_())
    X = X.detach()
    with pytest.raises(InputError, match="of the kind of X and have 3 columns, got ndarray"):
        released.log_density_and_score(X, Y.numpy())
    with pytest.raises(InputError, match=r"weights must be finite.*of shape \(150,\), got a tensor of shape"):
        released.log_density_and_score(X, Y, torch.ones(7))
    with pytest.raises(DegenerateDataError, match="a column is constant"):
        released.log_density_and_score(0 * X, Y)
    with pytest.warns(discoformer.DataWarning, match="rank 2 of 3"):
        singular = released.estimate(X * torch.tensor([1, 1, 0]), allow_singular=True, effort="fast")
    with pytest.raises(InputError, match="must be a NumPy array for an estimate of a singular sample"):
        singular.score(Y)


def test_another_device(kde: discoformer.Model, x: Floats) -> None:
    """The model says that it is on a GPU; no such session is opened."""
    graphs = Graphs(kde.graphs.source, kde.graphs.placement._replace(device="cuda:1"))
    p = kde.estimate(x).with_graphs(graphs)
    with pytest.raises(InputError, match=r"the device of the model, cuda:1, got a tensor on cpu: .*='cpu'"):
        p.log_density(torch.zeros(4, 3))
    check_device("Y", torch.zeros(4, 3), "cpu")


def test_an_older_onnxruntime(kde: discoformer.Model, x: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    p = kde.estimate(x)
    monkeypatch.delattr(onnxruntime.OrtValue, "from_dlpack")
    with pytest.raises(InputError, match=r"tensors need onnxruntime 1\.26 or later, got 1\."):
        p.log_density(torch.zeros(4, 3))
    assert np.isfinite(p.log_density(x)).all()


def test_a_model_without_the_file(kde_folder: Path, x: Floats) -> None:
    with pytest.raises(discoformer.ModelNotFoundError, match=r"lacks discoformer\.onnx"):
        discoformer.load(kde_folder, "cpu").log_density_and_score(x, x)
