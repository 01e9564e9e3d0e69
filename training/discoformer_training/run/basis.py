"""The basis of adaptation: directions, and step sizes along them, for the last linear map of the heads.

Adaptation without labels (discoformer.analysis.adaptation) cannot estimate the 650 entries of the map from a
few hundred points. But different data sets need similar changes, which can be learned from densities that
are known. For a data set k, with x the change of the map, A_k and b_k are defined by the true loss,

    L_k(x) = mean |S - s|^2 / c + mean (T - log f)^2 / D = L_k(0) + 2 b_k . x + x . A_k x,   c = mean |s|^2,

Let M be the mean of the first A_k. The best regularised change for data set k is
x_k = -(A_k + CAUTION M)^-1 b_k / sqrt(L_k(0)). The basis holds the leading principal directions of all x_k
in the metric M. The length of each direction is the spread of the x_k along it, so that in coordinates of the
basis all changes have the same scale.

The families differ from those on which adaptation is evaluated (benchmarks/accuracy/adaptation.py). Mixtures
and products of Student-t distributions are the most similar.

Shapes: D dimensions, n entries of the map, r of the basis.
"""

from collections.abc import Iterable
from itertools import chain, islice

import torch
from torch import Tensor

from discoformer_training.data.context import Propose
from discoformer_training.data.stream import StreamConfig, Task, draw_task
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.point_features import point_features
from discoformer_training.nn.readout import read_tokens

TENSOR = "adaptation.basis"  # name of the tensor (n, r) in a checkpoint
SIZE = 128  # r
METRIC = 256  # number of data sets over which M is the mean
CAUTION = 10.0  # multiple of M in the regularisation: x_k is then close to a gradient step
DAMPING = 1e-4  # relative, on the diagonal of M: makes it invertible
OFF = 5.0  # nats / sqrt(D): larger errors of the log-density are ignored
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
    propose: Propose,
    *,
    size: int = SIZE,
    seed: int = 0,
) -> Tensor:
    """Learn the basis of adaptation of a network.

    Args:
        network: the network to adapt.
        numbers: numbers of the tasks in the stream.
        propose: makes the base that the heads refine.
        size: greatest number of directions r.
        seed: of the stream.

    Returns:
        the basis (n, r), float64, in the order of `discoformer.analysis.adaptation_losses`: entries of the
        score come first. Directions are sorted by decreasing spread.
    """
    losses = (_true_loss(network, draw_task(STREAM, seed, number, propose=propose)) for number in numbers)
    first = list(islice(losses, METRIC))
    metric = torch.stack([form for form, _, _ in first]).mean(0)
    metric += DAMPING * torch.diag(metric.diagonal() + DAMPING * metric.diagonal().mean())
    changes = [
        torch.linalg.solve(form + CAUTION * metric, slope) / loss**0.5
        for form, slope, loss in chain(first, losses)
    ]
    root = torch.linalg.cholesky(metric)
    _, spread, directions = torch.linalg.svd(
        torch.stack(changes) @ root / len(changes) ** 0.5, full_matrices=False
    )
    basis: Tensor = torch.linalg.solve_triangular(root.mT, (spread[:, None] * directions).mT, upper=True)
    return basis[:, :size]


@torch.no_grad()
def _true_loss(network: DiScoFormer, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Return A (n, n), b (n,) and L(0) of the true loss of a data set."""
    context, queries = task.context, task.queries
    points = point_features(queries, context.precision_root, context.known_base)
    answered = read_tokens(network, network.encode(context), context.log_weights, points)
    log_density, score, scalars, vectors = (field[0].double() for field in answered)
    m, dim = queries.shape[1:]
    truth = task.score[0].double()
    along = (scalars[:, None, :, None] * vectors[:, :, None, :]).reshape(m * dim, -1)  # dS / dx
    scale = m * truth.square().sum(-1).mean()
    off = (score - truth).flatten()
    error = log_density - task.log_density[0].double()
    near = error.abs() < OFF * dim**0.5
    rise, error = dim**0.5 * scalars[near], error[near]  # dT / dx
    form = torch.block_diag(along.mT @ along / scale, rise.mT @ rise / (m * dim))
    slope = torch.cat([along.mT @ off / scale, rise.mT @ error / (m * dim)])
    return form, slope, off.square().sum() / scale + error.square().sum() / (m * dim)
