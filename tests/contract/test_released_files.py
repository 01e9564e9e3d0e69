"""The released files are those that are recorded, and give the answers of their weights in PyTorch."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.evaluation.benchmark import Estimator
from discoformer_training.evaluation.estimators import checkpoint_estimator, runtime_estimator

FOLDERS = [path.parent for path in sorted(Path(__file__).parents[2].glob("models/*/config.json"))]


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def in_pytorch(folder: Path) -> Estimator:
    return checkpoint_estimator(folder)


def test_the_record_lists_the_files_that_are_there(folder: Path) -> None:
    paths = [path for path in folder.iterdir() if path.suffix in (".onnx", ".safetensors")]
    files = {path.name: path.read_bytes() for path in paths}
    recorded = json.loads((folder / "config.json").read_text())["files"]
    assert recorded == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert recorded.keys() == {
        "mixture.onnx",
        "discoformer.onnx",
        "encode.onnx",
        "query.onnx",
        "mixture.safetensors",
        "weights.safetensors",
        "adaptation.safetensors",
    }


@pytest.mark.parametrize(("dim", "n"), [(1, 32), (2, 500), (12, 40), (10, 300), (45, 200), (100, 64)])
def test_both_give_the_same_answers_to_raw_data(
    folder: Path, in_pytorch: Estimator, dim: int, n: int
) -> None:
    generator = torch.Generator().manual_seed(dim)
    mixture = draw_mixtures(1, dim, affine_condition=30, generator=generator)
    context, queries = (mixture.sample(size, generator=generator)[0].numpy() for size in (n, 40))
    log_density, score = in_pytorch(context, queries)
    log_density_onnx, score_onnx = runtime_estimator(folder)(context, queries)
    np.testing.assert_allclose(log_density_onnx, log_density, atol=1e-4 * dim + 1e-3)
    assert np.linalg.norm(score_onnx - score) < 1e-4 * np.linalg.norm(score)
