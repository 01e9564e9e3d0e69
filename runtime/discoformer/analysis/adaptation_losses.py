"""Losses that need no labels and are quadratic in the last linear map of the heads, and their descent.

The network answers ``T_0`` and ``S_0``. A change x (n,) of the map adds to them linearly (see
``discoformer_training.nn.readout``). At a held-out point of weight w, with orthonormal directions u, draws q
from a proposal of density c, and ``c_S`` the mean of |S_0|^2::

    L_ism = D / P sum_p (u_p . grad (u_p . S) + (u_p . S)^2 / 2) / c_S      implicit score matching
    L_con = D / P sum_p (u_p . S - u_p . grad T)^2 / c_S                    consistency of the heads
    L_lik = (mean_q exp T(q) / c(q) - T) / D                 likelihood of an unnormalised density
    L_was = mean_q (|S(q) - S_0(q)|^2 / c_S + (T(q) - T_0(q))^2 / D) / 2      change of the answers
    L     = mean_w (L_ism + L_con + L_lik) + p L_was = L(0) + b . x + x . A x / 2

A holds exp to second order.

- In expectation, L_ism is half the squared error of the score, up to a constant (Hyvarinen, *JMLR* 6, 2005;
  along random directions Song et al., *UAI* 2019).
- L_lik is least if exp T is the density.
- L_con lets each head learn from the other. On its own it says little: heads that agree may both be wrong.
- L_was counts as p more points at which the network was right. The draws are broader than the sample, and
  where the sample says nothing, the answers should stay as they were.

**The first move** goes along a basis that was learned from data sets of known density
(``discoformer_training.run.basis``). Its length depends on how reliable the data are. In the coordinates of
the basis, with ``p = 0``, let ``b_i`` be the slope of L of point i at ``x = 0``, V diag(lambda) V^T the form
A, and w weights of sum 1::

    b = sum_i w_i b_i        noise = sum_i w_i^2 |b_i - b|^2        (the expectation of |b - E b|^2)
    d = NOISE noise / |b|^2 (1 + (n_eff L_con(0))^-4)        n_eff = 1 / sum_i w_i^2
    x = - V [lambda / (lambda^2 + d mean lambda^2)] V^T b

This is the expectation of x given b, if ``b = - A x + e`` with normal and isotropic x and e. x is isotropic
because each basis vector is as long as data sets differ along it; its variance is such that ``|b|^2`` has its
expected value. e has the variance ``d |b|^2 / r``. If the slope is mostly noise, x moves only along
directions of large curvature. If the heads differ by less than one point of the sample can tell, the model
knows the distribution, and x hardly moves.

**Further moves** are gradient steps in all entries. The coordinates are scaled so that A has a unit diagonal,
and the step is 1 / the greatest eigenvalue of A there, so no step raises the loss. Derivatives are central
differences of half-length h.

Shapes: m points, P directions, Q draws, D dimensions; n entries of the map, (E + 1)(C + 1) for the score and
then E + 1 for the log-density; r vectors of the basis.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from discoformer.io.inputs import Floats

HALF_LENGTH = 0.02  # h, frame units
NOISE = 3.0  # factor on the estimated noise of the slope, which has heavy tails
CLOSEST = 1e-3  # lower bound of n_eff L_con(0), the mismatch of the heads in points
FLATTEST = 1e-9  # lower bound of d: nothing moves along directions much flatter than the others
DAMPING = 1e-3  # share of the mean of the diagonal of A that is added to each entry
MOST_NATS = 20.0  # cap on exponents at the draws, so that exp does not overflow


class Read(NamedTuple):
    """Answers of the network at n queries, and the inputs of its last linear map there."""

    log_density: Floats  # (n,) T
    score: Floats  # (n, D) S
    scalars: Floats  # (n, E + 1)
    vectors: Floats  # (n, D, C + 1)


class Part(NamedTuple):
    """Terms of the losses at m points of one part of the sample: values and derivatives by x."""

    weights: Floats  # (m,) w
    along: Floats  # (P, m, n) derivative of u . S by x
    own: Floats  # (P, m) u . S_0
    mismatch: Floats  # (P, m, n) derivative of u . (S - grad T)
    own_mismatch: Floats  # (P, m) u . (S_0 - grad T_0)
    divergence: Floats  # (m, n) derivative of D / P sum_p u_p . grad (u_p . S)
    log_density: Floats  # (m, n) derivative of T
    drawn: Floats  # (Q, n) derivative of T at the draws
    drawn_form: Floats  # (n, n) mean square derivative of S there
    ratios: Floats  # (Q,) exp T_0 / c / Q there
    dim: int  # D


class Changes(NamedTuple):
    """Losses at m points after each step, the first two as changes from x = 0."""

    implicit: Floats  # (steps, m) L_ism(x) - L_ism(0)
    likelihood: Floats  # (steps, m) L_lik(x) - L_lik(0)
    mismatch: Floats  # (steps, m) L_con(x)


class Quadratic(NamedTuple):
    """``b . x + x . A x / 2``."""

    form: Floats  # (n, n) A
    slope: Floats  # (n,) b

    def at(self, x: Floats) -> Floats:
        """Return the values at each x (steps, n)."""
        values: Floats = x @ self.slope + 0.5 * (x @ self.form * x).sum(1)
        return values


class PartLoss(NamedTuple):
    """The loss of one part of the sample, or the mean loss of several parts."""

    loss: Quadratic  # L with p = 0, times the sum of the weights
    answers: Floats  # (n, n) A of L_was, times the sum of the weights
    slopes: Floats  # (m, r) derivative of L at each point along the basis, at x = 0
    mismatch: Floats  # (m,) L_con at each point, at x = 0
    weights: Floats  # (m,)


class Strides(NamedTuple):
    """Scale and size of further steps."""

    units: Floats  # (n,) one unit of the scaled coordinates
    size: float  # step size in these


def probes(points: Floats, directions: Floats) -> Floats:
    """Return ((1 + 2 P) m, D): points (m, D), then points ahead and behind along directions (P, m, D)."""
    steps = HALF_LENGTH * directions
    return np.concatenate([points, *(points + steps), *(points - steps)])


def make_part(
    asked: Read,
    drawn: Read,
    weights: Floats,
    directions: Floats,
    drawn_directions: Floats,
    log_proposal: Floats,
) -> Part:
    """Return the terms of the losses for one part.

    Args:
        asked: Answers and inputs of the map at the ``probes`` of m points.
        drawn: Answers and inputs of the map at Q draws from the proposal.
        weights: Weights (m,) of the points.
        directions: Directions (P, m, D), orthonormal at each point.
        drawn_directions: Directions (P, Q, D), orthonormal at each draw.
        log_proposal: Log-density (Q,) of the proposal at the draws, nats.
    """
    p, m, dim = directions.shape
    own, ahead, behind = (_part_of(asked, m, which, p) for which in range(3))
    features = [_along(read.scalars, read.vectors, directions) for read in (own, ahead, behind)]
    at_draws = _along(drawn.scalars, drawn.vectors, drawn_directions)
    draws, entries = at_draws.shape[1:]  # entries of the map for the score
    n = entries + own.scalars.shape[-1]
    drawn_form = np.zeros((n, n))
    drawn_form[:entries, :entries] = dim / p * _gram(at_draws, np.full(draws, 1 / draws))
    zeros = np.zeros((*features[0].shape[:2], own.scalars.shape[-1]))
    slope = _difference(ahead.scalars, behind.scalars) * dim**0.5
    own_along = (own.score * directions).sum(-1)
    return Part(
        weights=weights,
        along=np.concatenate([features[0], zeros], -1),
        own=own_along,
        mismatch=np.concatenate([features[0], -slope], -1),
        own_mismatch=own_along - _difference(ahead.log_density, behind.log_density),
        divergence=np.concatenate([dim / p * _difference(features[1], features[2]).sum(0), zeros[0]], -1),
        log_density=_of_log_density(own.scalars[0], entries, dim),
        drawn=_of_log_density(drawn.scalars, entries, dim),
        drawn_form=drawn_form,
        ratios=np.exp(np.minimum(drawn.log_density - log_proposal, MOST_NATS)) / len(log_proposal),
        dim=dim,
    )


def part_loss(part: Part, basis: Floats, scale: float) -> PartLoss:
    """Return the loss of a part; ``basis`` is (n, r), ``scale`` is c_S."""
    w, share = part.weights, part.weights.sum()
    rate = part.dim / len(part.own) / scale
    form = rate * (_gram(part.along, w) + 2 * _gram(part.mismatch, w))
    slopes = rate * (_summed(part.own, part.along) + 2 * _summed(part.own_mismatch, part.mismatch))
    slopes += part.divergence / scale + (part.ratios @ part.drawn - part.log_density) / part.dim
    evenly = np.full(len(part.ratios), 1 / len(part.ratios))
    return PartLoss(
        Quadratic(form + share / part.dim * _gram(part.drawn, part.ratios), w @ slopes),
        share * (part.drawn_form / scale + _gram(part.drawn, evenly) / part.dim),
        slopes @ basis,
        rate * np.square(part.own_mismatch).sum(0),
        w,
    )


def mean_loss(losses: Sequence[PartLoss]) -> PartLoss:
    """Return the mean loss over the points of several parts, with weights of sum 1."""
    weights = np.concatenate([part.weights for part in losses])
    share = weights.sum()
    form, slope, answers = (
        np.sum(field, 0) / share
        for field in zip(*((*part.loss, part.answers) for part in losses), strict=True)
    )
    slopes, mismatch = (
        np.concatenate([getattr(part, name) for part in losses]) for name in ("slopes", "mismatch")
    )
    return PartLoss(Quadratic(form, slope), answers, slopes, mismatch, weights / share)


def first_move(mean: PartLoss, basis: Floats) -> Floats:
    """Return the first move x (n,) for the mean loss of all parts; see the head of this module."""
    slope = mean.weights @ mean.slopes
    noise = np.square(mean.weights) @ np.square(mean.slopes - slope).sum(1)
    curvature, axes = np.linalg.eigh(basis.T @ mean.loss.form @ basis)
    power, spread = slope @ slope, np.square(curvature).mean()
    if power == 0 or spread == 0:
        return np.zeros(len(basis))
    apart = max(mean.weights @ mean.mismatch / np.square(mean.weights).sum(), CLOSEST)
    doubt = max(NOISE * noise / power * (1 + apart**-4), FLATTEST)
    move: Floats = -basis @ axes @ (curvature / (np.square(curvature) + doubt * spread) * (slope @ axes))
    return move


def with_answers(mean: PartLoss, prior: float) -> Quadratic:
    """Return L, with the ``prior`` p as the weight of L_was."""
    return Quadratic(mean.loss.form + prior * mean.answers, mean.loss.slope)


def strides_of(loss: Quadratic) -> Strides:
    """Return the longest strides that never raise the loss."""
    diagonal = np.diag(loss.form)
    units = 1 / np.sqrt(diagonal + DAMPING * diagonal.mean())
    return Strides(units, 1 / float(np.linalg.eigvalsh(loss.form * units[:, None] * units)[-1]))


def descend(loss: Quadratic, first: Floats, strides: Strides, steps: int) -> Floats:
    """Return the path x (steps + 1, n): 0, the first move (n,), then gradient steps."""
    path = [np.zeros(len(first)), first]
    for _ in range(steps - 1):
        slope = loss.form @ path[-1] + loss.slope
        path.append(path[-1] - strides.size * strides.units**2 * slope)
    return np.array(path)


def changes(part: Part, path: Floats, scale: float) -> Changes:
    """Return the losses of each point along a path x (steps, n); ``scale`` is c_S."""
    rate = part.dim / len(part.own) / scale
    added = np.moveaxis(part.along @ path.T, -1, 0)  # (steps, P, m)
    mismatch = np.moveaxis(part.mismatch @ path.T, -1, 0) + part.own_mismatch
    integral = np.expm1(np.minimum(path @ part.drawn.T, MOST_NATS)) @ part.ratios
    return Changes(
        implicit=path @ part.divergence.T / scale + rate * (added * part.own + 0.5 * added**2).sum(1),
        likelihood=(integral[:, None] - path @ part.log_density.T) / part.dim,
        mismatch=rate * np.square(mismatch).sum(1),
    )


def _part_of(read: Read, m: int, which: int, p: int) -> Read:
    """Return the part of ``read`` at the points (0), ahead of (1) or behind them (2): (1 or P, m, ...)."""
    rows = slice(0, m) if which == 0 else slice((1 + (which - 1) * p) * m, (1 + which * p) * m)
    return type(read)(*(field[rows].reshape(-1, m, *field.shape[1:]) for field in read))


def _along(scalars: Floats, vectors: Floats, directions: Floats) -> Floats:
    """Return the derivative (P, m, (E + 1)(C + 1)) of u . S by the map."""
    projected = (directions[..., None, :] @ vectors)[..., 0, :]  # (P, m, C + 1)
    product = scalars[..., :, None] * projected[..., None, :]
    return product.reshape(*product.shape[:2], -1)


def _of_log_density(scalars: Floats, before: int, dim: int) -> Floats:
    """Return the derivative (m, n) of T by the map, from scalars (m, E + 1); zeros ``before`` its entries."""
    return np.concatenate([np.zeros((len(scalars), before)), dim**0.5 * scalars], -1)


def _difference(ahead: Floats, behind: Floats) -> Floats:
    """Return the central difference of answers ahead and behind."""
    return (ahead - behind) / (2 * HALF_LENGTH)


def _summed(own: Floats, derivative: Floats) -> Floats:
    """Sum products of (P, m) and (P, m, n) over directions, to (m, n)."""
    return np.einsum("pm,pmn->mn", own, derivative)


def _gram(rows: Floats, weights: Floats) -> Floats:
    """Return the sum (n, n) of outer products of rows (..., m, n), weighted by (m,)."""
    n = rows.shape[-1]
    return (rows * weights[:, None]).reshape(-1, n).T @ rows.reshape(-1, n)
