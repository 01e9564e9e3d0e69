"""The training loss.

Means over queries, in the frame. rho(e) = 2 (sqrt(1 + e) - 1) takes a squared error e. It is
quadratic in the error near 0 and linear far out:

    L_T   = mean rho((T - log f)^2 / D)                     nats per square root of D
    L_S   = mean rho(|S - s|^2 / c),    c = mean |s|^2      mean over the fresh queries of the data set
    L_con = mean rho(D (dT/du - S . u)^2 / c),  |u| = 1     score head and slope of the density head
    L_Z   = mean rho(k^2 log Z_1 log Z_2 / D),  Z_i = mean exp(T - log p)   over half i of the draws from p
    L     = alpha L_T + (1 - alpha) L_S + lambda L_con + zeta L_Z

c is at least LEAST D, since the score of a uniform density is 0. Off the support errors are relative: (log f
- mean log f)^2 is added to D, and |s|^2 to c. At imagined queries the error of the log-density is not
relative, but T and log f are replaced by a floor where they are lower. There the score does not count either.
So the network learns that a region is empty (exp T must integrate to 1), but not how empty it is. The
integral of exp T itself is estimated from the fresh and the imagined queries, which together are draws from a
mixture p of the true density and the components. Two halves of them have independent errors, so the mean of
their product is about 0 for a normalised density, whatever the number of draws. The product may be negative:
then rho(-e) = -rho(e). The share k = min(1, N / 100, N / 10 D) of the integral counts: of few points the
density is hardly known, the best T is the mean of what log f may be, and its integral is far below 1.

The slope is a central difference along one random direction per query, because blocked attention is
differentiable only once. The points of the differences are extra queries.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discoformer_training.data.stream import Task

STEP = 0.05  # half-width of the central difference, frame units
ENOUGH = (
    100.0  # points from which on the integral counts in full; ENOUGH / 10 for each dimension from D = 10 on
)
LEAST = 0.1  # least mean of |s|^2 / D; it is higher for all densities without hard edges


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms of the loss."""

    alpha: float = 0.5  # weight of the log-density; that of the score is 1 - alpha
    consistency: float = 0.1  # lambda
    probed: float = 0.125  # share of the queries that L_con uses
    normalisation: float = 2.0  # zeta


def task_loss(network: nn.Module, task: Task, config: LossConfig) -> dict[str, Tensor]:
    """Return the loss and its terms by name, each a scalar."""
    m, dim = task.queries.shape[1:]
    n_probed = max(1, round(config.probed * m)) if config.consistency else 0
    stride = STEP * task.directions[:, :n_probed]
    probed = task.queries[:, :n_probed]
    queries = torch.cat([task.queries, probed + stride, probed - stride], 1)
    log_density, score = network(task.context, queries)

    square = task.score.square().sum(-1)
    scale = square[:, : task.n_fresh].mean(1, keepdim=True).clamp(min=LEAST * dim)  # (B, 1)
    depth = task.log_density - task.log_density[:, : task.n_fresh].mean(1, keepdim=True)
    off_support = torch.arange(m, device=square.device) >= task.n_on_support
    imagined = task.floor > -math.inf
    depth = torch.where(off_support & ~imagined, depth, 0)
    floored = torch.maximum(log_density[:, :m], task.floor)
    density_error = (floored - task.log_density).square() / (dim + depth.square())
    score_error = (score[:, :m] - task.score).square().sum(-1) / (scale + off_support * square)
    score_error = score_error * (task.log_density > task.floor)
    ahead, behind = log_density[:, m:].tensor_split([n_probed], 1)
    slope = (score[:, :n_probed] * task.directions[:, :n_probed]).sum(-1)
    mismatch = dim * ((ahead - behind) / (2 * STEP) - slope).square() / scale

    counts = (task.context.effective_size / max(ENOUGH, ENOUGH / 10 * dim)).clamp(max=1)
    integral_error = counts.square() * _log_integrals(log_density[:, :m], task).prod(0) / dim
    terms = {
        "density": density_error,
        "score": score_error,
        "consistency": mismatch,
        "normalisation": integral_error,
    }
    loss = {name: robust(error).sum() / max(1, error.numel()) for name, error in terms.items()}
    loss["loss"] = (
        config.alpha * loss["density"]
        + (1 - config.alpha) * loss["score"]
        + config.consistency * loss["consistency"]
        + config.normalisation * loss["normalisation"]
    )
    return loss


def robust(error: Tensor) -> Tensor:
    """Return rho of a squared error, or of an estimate of one, which may be negative."""
    return error.sign() * 2 * ((1 + error.abs()).sqrt() - 1)


def _log_integrals(log_density: Tensor, task: Task) -> Tensor:
    """Return two estimates (2, B) of the logarithm of the integral, each from every other draw."""
    n_imagined = task.log_drawn.shape[1] - task.n_fresh
    of_draws = torch.cat(
        [log_density[:, : task.n_fresh], log_density[:, log_density.shape[1] - n_imagined :]], 1
    )
    halves = [(of_draws - task.log_drawn)[:, start::2] for start in (0, 1)]
    return torch.stack([half.logsumexp(1) - math.log(half.shape[1]) for half in halves])
