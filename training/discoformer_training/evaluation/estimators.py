"""Models as estimators for the benchmark: a network in PyTorch, or a released model in ONNX Runtime."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

import discoformer
from discoformer.base.frame import fit_frames
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.tails import answer_base, radius_of, with_tails
from discoformer.onnx.graphs import CHUNK
from discoformer.onnx.names import Effort
from discoformer_training.data.context import LANDMARKS, Context, Propose, context_in_frame
from discoformer_training.evaluation.benchmark import Estimator
from discoformer_training.evaluation.metrics import FloatArray
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run.checkpoint import load_any_network, load_checkpoint, load_mixture_network


def network_estimator(
    network: DiScoFormer | MixtureNetwork, landmarks: int = LANDMARKS, propose: Propose | None = None
) -> Estimator:
    """Return an estimator in data units: frame, float32 network, tails of the base, and the map back.

    Args:
        network: the network.
        landmarks: greatest number of points of a context that it reads as tokens.
        propose: makes the base, which the heads need.
    """

    @torch.no_grad()
    def estimate(context: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        points = torch.as_tensor(context, dtype=torch.float64)[None]
        frame = fit_frames(points)
        framed = frame.to_frame(torch.as_tensor(queries, dtype=torch.float64)[None])[0].numpy()
        read = context_in_frame(points, frame, landmarks, propose)
        ask = partial(_ask, network, read)
        if read.base is None:
            log_density, score = ask(framed)
        else:
            base = read.base.each(lambda field: field.double().numpy())
            tail = partial(answer_base, base, MixtureAnswers(base.components))
            log_density, score = with_tails(ask, tail, radius_of(read.points[0].numpy()), framed)
        return (
            log_density + frame.log_abs_det.numpy(),
            frame.score_to_data(torch.as_tensor(score)[None])[0].numpy(),
        )

    return estimate


def _ask(
    network: DiScoFormer | MixtureNetwork, read: Context, queries: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return log-density (M,) and score (M, D) in the frame, float64, at queries (M, D) there."""
    answers = [network(read, part) for part in torch.as_tensor(queries).float()[None].split(CHUNK, 1)]
    log_density, score = (torch.cat(parts, 1)[0].double() for parts in zip(*answers, strict=True))
    return log_density.numpy(), score.numpy()


def checkpoint_estimator(path: Path) -> Estimator:
    """Return an estimator in data units: the network of a checkpoint.

    Raises:
        CheckpointError: it cannot be read.
    """
    landmarks, network = load_checkpoint(path)[0].stream.landmarks, load_any_network(path, attend_blocked)
    if isinstance(network, MixtureNetwork):
        return network_estimator(network, landmarks)
    return network_estimator(network, landmarks, Proposal(load_mixture_network(path, attend_blocked)))


def runtime_estimator(folder: Path, effort: Effort = "best") -> Estimator:
    """Return an estimator in data units: the released model in a folder, in ONNX Runtime."""
    model = discoformer.load(folder)

    def estimate(context: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_density, score = model.estimate(context, effort=effort).log_density_and_score(queries)
        return log_density.astype(np.float64), score.astype(np.float64)

    return estimate
