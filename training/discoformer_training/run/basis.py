"""The basis of adaptation: in which directions the last linear map of the heads moves first, and how far.

Adaptation without labels (discoformer.analysis.adaptation) cannot tell 650 numbers from a few hundred
points. But data
sets ask for alike changes. So they are learned where the truth is known. For a data set k, with x the change
of the map, let A_k and b_k be those of its true loss,

    L_k(x) = mean |S - s|^2 / c + mean (T - log f)^2 / D = L_k(0) + 2 b_k . x + x . A_k x,   c = mean |s|^2,

M the mean of the first A_k, and x_k = -(A_k + CAUTION M)^-1 b_k / sqrt(L_k(0)) the cautious change that it
asks for. The basis is that of the greatest principal directions of all x_k in the metric M, each as long as
they are spread along it: in its coordinates, changes are of one size in all directions.

The data sets are of other families than adaptation is measured on (benchmarks/accuracy/adaptation.py);
mixtures and
products of Student-t distributions are the nearest.

Shapes: D dimensions, n entries of the map, r of the basis.
"""

from collections.abc import Iterable
from itertools import chain, islice

import torch
from torch import Tensor

from discoformer_training.data.stream import StreamConfig, Task, draw_task
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.point_features import seen
from discoformer_training.nn.readout import read_tokens

TENSOR = "adaptation.basis"  # of the tensor (n, r), in a checkpoint
SIZE = 128  # r
METRIC = 256  # data sets, the first, of which M is the mean
CAUTION = 10.0  # times the mean curvature: the change that a data set asks for is as good as a gradient step
DAMPING = 1e-4  # of the diagonal of M, that it has an inverse
OFF = 5.0  # nats / sqrt(D): log-densities that are further off say nothing
FAMILIES = (
    "gmm",
    "student_mixtures",
    "student_product",
    "logistic",
    "skew_normal",
    "sinh_arcsinh",
    "log_normal",
    "softplus_normal",
    "logit_normal",
    "thin",
    "spirals",
    "banana",
    "funnel",
    "warped",
)
STREAM = StreamConfig(
    dims=(2, 8),
    context_sizes=(128, 1500),
    tokens=1,  # one data set at a time
    query_range=(1024, 1024),
    fresh=1.0,
    seen=0.0,
    noised=0.0,
    families=dict.fromkeys(FAMILIES, 1.0),
)


def learn_basis(
    network: DiScoFormer,
    numbers: Iterable[int],
    *,
    size: int = SIZE,
    seed: int = 0,
) -> Tensor:
    """Learn the basis of adaptation of a network.

    Args:
        network: that is to be adapted.
        numbers: of the data sets in the stream that it is learned from.
        size: of the basis, at most.
        seed: of the stream.

    Returns:
        (n, r) float64: entries of the map as in `discoformer.analysis.adaptation_losses`, the score's part
        first; the direction
        of greatest spread first.
    """
    losses = (_true_loss(network, draw_task(STREAM, seed, number)) for number in numbers)
    first = list(islice(losses, METRIC))
    metric = torch.stack([form for form, _, _ in first]).mean(0)
    metric += DAMPING * torch.diag(metric.diagonal() + DAMPING * metric.diagonal().mean())
    asked = [
        torch.linalg.solve(form + CAUTION * metric, slope) / loss**0.5
        for form, slope, loss in chain(first, losses)
    ]
    root = torch.linalg.cholesky(metric)
    _, spread, directions = torch.linalg.svd(
        torch.stack(asked) @ root / len(asked) ** 0.5, full_matrices=False
    )
    basis: Tensor = torch.linalg.solve_triangular(root.mT, (spread[:, None] * directions).mT, upper=True)
    return basis[:, :size]


@torch.no_grad()
def _true_loss(network: DiScoFormer, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """A (n, n), b (n,) and L(0) of the true loss of a data set."""
    context, queries = task.context, task.queries
    points = seen(queries, context.precision_root, context.base)
    answered = read_tokens(network, network.encode(context), context.log_weights, points)
    log_density, score, scalars, vectors = (field[0].double() for field in answered)
    m, dim = queries.shape[1:]
    truth = task.score[0].double()
    along = (scalars[:, None, :, None] * vectors[:, :, None, :]).reshape(m * dim, -1)  # S by x
    scale = m * truth.square().sum(-1).mean()
    off = (score - truth).flatten()
    error = log_density - task.log_density[0].double()
    near = error.abs() < OFF * dim**0.5
    rise, error = dim**0.5 * scalars[near], error[near]  # T by x
    form = torch.block_diag(along.mT @ along / scale, rise.mT @ rise / (m * dim))
    slope = torch.cat([along.mT @ off / scale, rise.mT @ error / (m * dim)])
    return form, slope, off.square().sum() / scale + error.square().sum() / (m * dim)
