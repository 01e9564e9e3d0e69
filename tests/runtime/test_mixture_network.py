"""A mixture network with random weights: the runtime answers as PyTorch does, and with its invariances."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import discoformer
from discoformer.io.inputs import Floats
from discoformer_export.files.onnx_files import mixture_to_onnx
from discoformer_training.data.context import Context
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork

pytestmark = pytest.mark.slow

SMALL = NetworkConfig(kind="mixture", blocks=1, scalars=16, channels=3, heads=2, hidden=16, readout=16)


@pytest.fixture(scope="module")
def network() -> MixtureNetwork:
    torch.manual_seed(0)
    network = MixtureNetwork(SMALL).eval()
    with torch.no_grad():
        network.components.out.weight.mul_(20)  # so that components differ
    return network


@pytest.fixture(scope="module")
def model(
    network: MixtureNetwork, gaussian_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> discoformer.Model:
    folder: Path = tmp_path_factory.mktemp("network")
    known = {entry.key: entry.value for entry in onnx.load(gaussian_folder / "mixture.onnx").metadata_props}
    onnx.save(mixture_to_onnx(network, known), folder / "mixture.onnx")
    return discoformer.load(folder, "cpu", 1, trust=True)


def in_torch(network: MixtureNetwork, p: discoformer.Estimate, y: Floats) -> tuple[Floats, Floats]:
    """Log-density and score by PyTorch, in data units."""
    frame, z = p.frame, p.frame.to_frame(p.data.points)
    given = (z, np.log(p.data.weights), frame.precision_root, frame.log_det_precision, frame.effective_size)
    context = Context(*(torch.as_tensor(np.array(array)[None]).float() for array in given))
    with torch.no_grad():
        mixture = type(network.mixture(context))(*(field.double() for field in network.mixture(context)))
        found = mixture.log_density_and_score(torch.as_tensor(frame.to_frame(y)[None]))
    log_density, score = (array[0].numpy() for array in found)
    return frame.log_density_to_data(log_density), frame.score_to_data(score)


def test_estimates_are_those_of_the_network(
    model: discoformer.Model, network: MixtureNetwork, rng: np.random.Generator
) -> None:
    contexts = [rng.normal(size=(n, dim)) * 10.0**dim for n, dim in ((20, 2), (24, 2), (50, 4), (30, 1))]
    weights = [None, rng.random(24) + 0.1, None, None]
    for p in model.estimate_batch(contexts, weights, effort="fast"):
        y = p.data.points[:9] * 1.1
        for found, expected in zip(p.log_density_and_score(y), in_torch(network, p, y), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_affine_maps_order_and_repeated_rows(model: discoformer.Model, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(9, 3))
    expected = model.estimate(x, effort="fast").log_density(y)
    turn, shift = rng.normal(size=(3, 3)) * 100, rng.normal(size=3)
    moved = model.estimate(x[::-1] @ turn + shift, effort="fast").log_density(y @ turn + shift)
    np.testing.assert_allclose(moved + np.linalg.slogdet(turn)[1], expected, atol=1e-3)
    counts = rng.integers(1, 4, size=60)
    repeated = model.estimate(np.repeat(x, counts, axis=0), effective_size=60, effort="fast")
    weighted = model.estimate(x, counts, effective_size=60, effort="fast")
    np.testing.assert_allclose(repeated.log_density(y), weighted.log_density(y), atol=1e-3)
