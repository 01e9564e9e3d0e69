"""Models as estimators for the benchmark: a network in PyTorch, or a released model in ONNX Runtime."""

from pathlib import Path

import numpy as np
import torch

import discoformer
from discoformer.base.frame import fit_frames
from discoformer.base.local_scatter import THOROUGH, light
from discoformer_training.data.context import LANDMARKS, context_in_frame
from discoformer_training.evaluation.benchmark import Estimator
from discoformer_training.evaluation.metrics import FloatArray
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer


def network_estimator(network: DiScoFormer | MixtureNetwork, landmarks: int = LANDMARKS) -> Estimator:
    """Return an estimator in data units: frame, float32 network, and the map back.

    Args:
        network: the network.
        landmarks: greatest number of points of a context that it reads as tokens.
    """
    fitted = isinstance(network, DiScoFormer)

    @torch.no_grad()
    def estimate(context: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        points = torch.as_tensor(context, dtype=torch.float64)[None]
        frame = fit_frames(points, most=THOROUGH if fitted else light(points.shape[-1]))
        framed = frame.to_frame(torch.as_tensor(queries, dtype=torch.float64)[None]).float()
        log_density, score = network(context_in_frame(points, frame, landmarks, fitted=fitted), framed)
        return (
            (log_density.double() + frame.log_abs_det[:, None])[0].numpy(),
            frame.score_to_data(score.double())[0].numpy(),
        )

    return estimate


def runtime_estimator(folder: Path) -> Estimator:
    """Return an estimator in data units: the released model in a folder, in ONNX Runtime."""
    model = discoformer.load(folder)

    def estimate(context: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_density, score = model.estimate(context).log_density_and_score(queries)
        return log_density.astype(np.float64), score.astype(np.float64)

    return estimate
