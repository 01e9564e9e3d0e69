"""Checkpoints as estimators: both kinds of network, in data units."""

from pathlib import Path

import numpy as np
import pytest
import torch

from discoformer.base.base import evaluate_base
from discoformer.base.frame import fit_frames
from discoformer_training.data.context import context_in_frame
from discoformer_training.evaluation import estimators
from discoformer_training.evaluation.baselines import gaussian
from discoformer_training.evaluation.cells import Cell, draw
from discoformer_training.evaluation.estimators import checkpoint_estimator
from discoformer_training.evaluation.metrics import Values, score_error
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run.checkpoint import Progress, save_checkpoint
from discoformer_training.run.config import TrainConfig


@pytest.fixture(scope="module")
def paths(
    tmp_path_factory: pytest.TempPathFactory, small: NetworkConfig, trained_proposal: Proposal
) -> dict[str, Path]:
    """Checkpoints by kind: the trained mixture network, and heads with their initial weights on it."""
    mixture, out = trained_proposal.network, tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    heads = DiScoFormer(small)
    averages = {"mixture": mixture, "heads": heads}
    for kind, network in averages.items():
        tensors = {f"average.{name}": tensor for name, tensor in network.state_dict().items()}
        tensors |= {f"proposal.{name}": tensor.clone() for name, tensor in mixture.state_dict().items()}
        config = TrainConfig(network=network.config, proposal=mixture.config)
        save_checkpoint(out / kind, config, Progress(), tensors)
    return {kind: out / kind for kind in averages}


@pytest.mark.parametrize("kind", ["mixture", "heads"])
def test_they_are_far_better_than_a_gaussian_on_clusters(paths: dict[str, Path], kind: str) -> None:
    at = draw(Cell("gmm", 3, 600, modes=(3, 3), queries=64), 0)
    found = Values(*checkpoint_estimator(paths[kind])(at.context, at.queries))
    worse = gaussian(at.context, at.queries, at.truth)
    assert score_error(found, at.truth) < 0.5 * score_error(worse, at.truth)
    np.testing.assert_allclose(found.log_density, at.truth.log_density, atol=3)


def test_heads_with_initial_weights_answer_like_their_base(
    paths: dict[str, Path], trained_proposal: Proposal
) -> None:
    """Beside the small part of the Student-t."""
    at = draw(Cell("laplace", 3, 600, queries=64), 0)
    found, score = checkpoint_estimator(paths["heads"])(at.context, at.queries)
    points, queries = (torch.as_tensor(array)[None] for array in (at.context, at.queries))
    frame = fit_frames(points)
    base = context_in_frame(points, frame, propose=trained_proposal).known_base
    expected = evaluate_base(base, frame.to_frame(queries).float())
    log_density = expected.log_density + frame.log_abs_det[:, None]
    np.testing.assert_allclose(found, log_density[0], atol=0.1)
    relative = np.abs(score - frame.score_to_data(expected.score.double())[0].numpy()).mean()
    assert relative < 0.1 * np.abs(score).mean()


@pytest.mark.parametrize("kind", ["mixture", "heads"])
def test_chunks_of_queries_do_not_show(
    paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    at = draw(Cell("gmm", 2, 100, queries=64), 0)
    estimator = checkpoint_estimator(paths[kind])
    whole = estimator(at.context, at.queries)
    monkeypatch.setattr(estimators, "CHUNK", 7)
    for found, expected in zip(estimator(at.context, at.queries), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
