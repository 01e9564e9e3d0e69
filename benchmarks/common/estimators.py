"""Density estimators to compare with on real data.

Each is a function of training rows (N, D), test rows (M, D) and a seed. It returns the log-density (M,) at
the test rows, in nats. It uses nothing but the training rows.
"""

import contextlib
import copy

import numpy as np
import torch
import zuko
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from discoformer_training.evaluation import baselines
from discoformer_training.evaluation.metrics import Values

Floats = NDArray[np.float64]

FACTORS = np.geomspace(0.1, 3.0, 16)  # bandwidths to try, as multiples of Scott's
UNKNOWN = Values(np.empty(0), np.empty((0, 0)))  # the truth, which these baselines do not use

FLOW_TRANSFORMS, FLOW_BINS, FLOW_HIDDEN = 3, 8, (64, 64)  # of the neural spline flow
FLOW_BATCH = 128
FLOW_RATE = 5e-3  # of Adam
FLOW_PATIENCE = 20  # epochs without a better validation likelihood before training stops
FLOW_STEPS = 1500  # greatest number of steps
FLOW_VALIDATION = 0.15  # share of the training rows


def kde(train: Floats, test: Floats, seed: int) -> Floats:
    """Gaussian KDE. Leave-one-out likelihood selects bandwidth and coordinates (standardised or whitened)."""
    del seed
    axes, bandwidth = kernel_by_leave_one_out(train)
    return baselines.KernelDensity(train, test, axes)(bandwidth).log_density


def kernel_by_leave_one_out(train: Floats) -> tuple[Floats, float]:
    """Return the coordinates (D, D) and the bandwidth there of the greatest leave-one-out likelihood.

    If the covariance of the rows (N, D) is singular, only standardised coordinates are tried.
    """
    grid, spread = baselines.scott_bandwidth(train) * FACTORS, train.std(axis=0)
    coordinates = [np.diag(1 / np.where(spread > 0, spread, 1.0))]
    with contextlib.suppress(np.linalg.LinAlgError):
        coordinates.append(baselines.whitened_axes(train))
    choices = []
    for axes in coordinates:
        likelihoods = leave_one_out(train @ axes, grid) + np.linalg.slogdet(axes)[1]
        best = int(likelihoods.argmax())
        choices.append((likelihoods[best], grid[best], axes))
    _, bandwidth, axes = max(choices, key=lambda choice: choice[0])
    return axes, float(bandwidth)


def leave_one_out(points: Floats, bandwidths: Floats) -> Floats:
    """Return the leave-one-out mean log-likelihood (H,) of a KDE of points (N, D) at H bandwidths."""
    n, dim = points.shape
    distances = cdist(points, points, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    excess = distances - nearest[:, None]
    found = [np.log(np.exp(excess / (-2 * h**2)).sum(axis=1)) - nearest / (2 * h**2) for h in bandwidths]
    constants = np.log(n - 1) + dim / 2 * np.log(2 * np.pi * bandwidths**2)
    return np.array([log_sum.mean() for log_sum in found]) - constants


def gmm_bic(train: Floats, test: Floats, seed: int) -> Floats:
    """Gaussian mixture by EM with full covariances. BIC selects 1 to 12 components."""
    del seed
    return baselines.gmm_bic(train, test, UNKNOWN).log_density


def flow(train: Floats, test: Floats, seed: int) -> Floats:
    """A neural spline flow in whitened coordinates, trained on this data set with early stopping."""
    return fitted_flow(train, test, seed).log_density


def fitted_flow(train: Floats, test: Floats, seed: int) -> Values:
    """Train such a flow, and return its log-density (M,) and score (M, D) at the test rows."""
    torch.manual_seed(seed)
    axes, center = baselines.whitened_axes(train), train.mean(axis=0)
    rows, queries = (torch.as_tensor((part - center) @ axes, dtype=torch.float32) for part in (train, test))
    rows = rows[torch.randperm(len(rows))]
    held = max(1, round(FLOW_VALIDATION * len(rows)))
    network = zuko.flows.NSF(
        train.shape[1], transforms=FLOW_TRANSFORMS, bins=FLOW_BINS, hidden_features=FLOW_HIDDEN
    )
    _train_flow(network, rows[held:], rows[:held])
    found = network().log_prob(queries.requires_grad_())
    (score,) = torch.autograd.grad(found.sum(), queries)
    return Values(
        found.detach().double().numpy() + np.linalg.slogdet(axes)[1], score.double().numpy() @ axes.T
    )


def _train_flow(network: zuko.flows.NSF, rows: torch.Tensor, held: torch.Tensor) -> None:
    """Train until the likelihood of the held-out rows (n, D) stops rising, and keep the best weights."""
    optimizer = torch.optim.Adam(network.parameters(), lr=FLOW_RATE)
    best, best_state, waited, steps = -np.inf, network.state_dict(), 0, 0
    while waited < FLOW_PATIENCE and steps < FLOW_STEPS:
        for batch in torch.randperm(len(rows)).split(FLOW_BATCH):
            optimizer.zero_grad()
            (-network().log_prob(rows[batch]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            steps += 1
        with torch.no_grad():
            likelihood = float(network().log_prob(held).mean())
        waited += 1
        if likelihood > best:
            best, best_state, waited = likelihood, copy.deepcopy(network.state_dict()), 0
    network.load_state_dict(best_state)
