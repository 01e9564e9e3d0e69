"""The descent of adaptation on all parts of a sample, and the step to stop at, measured by cross-validation.

The sample is cut at random into ``PARTS`` parts. For each part, the network reads the other parts, with a
frame and components found from their points alone, and is evaluated at the points of the part. The losses are
quadratic in the change x of the last linear map (see ``adaptation_losses``), so the network is evaluated
once, and steps cost next to nothing.

The number of steps is found by cross-validation: the descent is run without each part in turn, and its losses
are measured on that part. Let ``d_i(s, t)`` be the change of ``L_ism + L_lik`` at point i from step s to step
t of the descent that has not seen the point, and ``w`` the weights, of sum 1::

    held out (s, t) = sum_i w_i d_i(s, t)        error (s, t)^2 = sum_i w_i^2 (d_i(s, t) - held out (s, t))^2
    t* = 0                              if held out (0, 1) > DOUBT error (0, 1)
         argmin held out (1, t) + CAUTION error (1, t) over 1 <= t <= last     otherwise

The length of the first move already allows for noise. So the first move is kept unless held-out points
contradict it, and further steps are kept only if held-out points support them.

``last`` is the last step before the heads disagree, and at least 1. They disagree when the mean of ``L_con``
at held-out points exceeds ``MISMATCH`` times its first value plus the fall of ``L_lik``. Sharp components
need this guard: there, the tails of ``L_ism`` are so heavy that its standard error says nothing, but heads do
not agree by chance.

Time and memory grow with the number of points read times the number of points evaluated. Both are bounded:
the network reads landmarks of a large sample, and is evaluated at no more than ``ASKED`` points of each part.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from discoformer.analysis.adaptation_losses import (
    Changes,
    Part,
    changes,
    descend,
    first_move,
    make_part,
    mean_loss,
    part_loss,
    probes,
    strides_of,
    with_answers,
)
from discoformer.analysis.adaptation_map import basis_of
from discoformer.analysis.held_out import mean_and_error
from discoformer.analysis.torch_network import network_of, read
from discoformer.base.base import Base
from discoformer.base.frame import Frame
from discoformer.base.mixture import Components, broadened, draw, evaluate
from discoformer.errors import InputError, require
from discoformer.fit import graph_inputs, ignore, landmarks_of, read_sample
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats
from discoformer.proposal import propose

PARTS = 5
ASKED = 512  # most points of a part at which the network is evaluated
DRAWS = 512  # draws from the proposal in each part, for the integral and for the model's own answers
DIRECTIONS = 8  # most directions along which derivatives are taken at a point
PRIOR = 64.0  # number of points that the model's own answers count as, after the first move
DOUBT = 2.0  # standard errors by which the first move may be worse on held-out points
CAUTION = 3.0  # standard errors by which further steps must be better on held-out points
MISMATCH = 2.0  # factor by which the mismatch of the heads may grow without a gain in likelihood
FEWEST = 20  # least number of points of a sample that is cut into parts

OnPart = Callable[[int], None]  # called with the number of parts that are done


class Course(NamedTuple):
    """A descent, from step 0 on."""

    path: Floats  # (steps + 1, n) change of the map
    loss: Floats  # (steps + 1,) change of the loss
    held_out: Floats  # (steps + 1,) change of the loss at held-out points
    held_out_error: Floats  # (steps + 1,) standard error of held_out
    mismatch: Floats  # (steps + 1,) L_con at held-out points
    chosen: int  # step to stop at


def course_of(fitted: FittedDensity, steps: int, seed: int, on_progress: OnPart = ignore) -> Course:
    """Return the descent on a sample and its losses on held-out points; see ``adapt`` for the arguments."""
    require("torch")
    basis, rng, parts = basis_of(fitted.graphs), np.random.default_rng(seed), []
    for part in _parts(fitted, rng):
        parts.append(part)
        on_progress(len(parts))
    return _course(parts, basis, steps, PRIOR / fitted.size)


def chosen_step(measured: Changes, weights: Floats) -> int:
    """Return the step t* to stop at, from losses at held-out points of weights (m,)."""
    likelihood, mismatch = measured.likelihood @ weights, measured.mismatch @ weights
    agreed = mismatch <= MISMATCH * mismatch[0] + np.maximum(-likelihood, 0)
    agreed[:2] = True
    last = len(agreed) - 1 if agreed.all() else int(agreed.argmin()) - 1
    change = (measured.implicit + measured.likelihood)[: last + 1]
    held_out, error = mean_and_error(change[1], weights)
    if not held_out <= DOUBT * error:
        return 0
    held_out, error = mean_and_error((change[1:] - change[1]).T, weights)
    return 1 + int(np.argmin(np.nan_to_num(held_out + CAUTION * error, nan=np.inf)))


def _parts(fitted: FittedDensity, rng: np.random.Generator) -> Iterator[Part]:
    """Cut the sample into parts, and evaluate the network at each part, given the others.

    Raises:
        InputError: The sample has too few points.
    """
    network = network_of(fitted.graphs)
    points, weights = fitted.z, fitted.spread.weights
    n, dim = len(points) // fitted.copies, points.shape[1]
    if n < FEWEST:
        raise InputError(
            f"adaptation needs {FEWEST} points or more, to hold some out, got {n}: give more rows"
        )
    each = np.arange(n * fitted.copies).reshape(n, -1)  # the points of each row
    for rows in np.array_split(rng.permutation(n), PARTS):
        others, held = np.delete(each, rows, axis=0).ravel(), each[rows, 0]
        given, components, own = _encode(fitted, points[others], weights[others])
        asked, proposal = own.to_frame(points[held[:ASKED]]), broadened(components)
        drawn = draw(proposal, DRAWS, rng)
        directions, drawn_directions = (_directions(len(at), dim, rng) for at in (asked, drawn))
        w = weights[held[:ASKED]]
        yield make_part(
            asked=read(network, given, probes(asked, directions)),
            drawn=read(network, given, drawn),
            weights=w * weights[each[rows]].sum() / w.sum(),
            directions=directions,
            drawn_directions=drawn_directions,
            log_proposal=evaluate(proposal, drawn[None]).log_density[0],
        )


def _directions(m: int, dim: int, rng: np.random.Generator) -> Floats:
    """Draw random directions (P, m, D), orthonormal at each of m points."""
    found: Floats = np.linalg.qr(rng.normal(size=(m, dim, min(dim, DIRECTIONS))))[0].transpose(2, 0, 1)
    return found


def _encode(
    fitted: FittedDensity, points: Floats, weights: Floats
) -> tuple[dict[str, Any], Components[Any], Frame]:
    """Encode some points of the sample, given in the frame of the whole sample.

    They get a frame of their own, because the frame of the sample depends on the points held out.

    Returns:
        Inputs and outputs of the encode graph, the components, and the frame of these points.
    """
    sample = read_sample(points, weights, max(1.0, float(weights.sum()) * fitted.size))
    given = graph_inputs([sample], [landmarks_of(sample, fitted.most_landmarks)])
    given |= propose(fitted.graphs, [sample], fitted.graphs.mixture(given))
    components = Base.from_inputs(given).components
    components = Components(*(field.astype(float) for field in components))
    return given | fitted.graphs.encode(given), components, sample.frame


def _course(parts: list[Part], basis: Floats, steps: int, prior: float) -> Course:
    """Return the descent on all parts, measured by the descents without each of them."""
    scale = sum(float(part.weights @ np.square(part.own).mean(0)) * part.dim for part in parts)
    losses = [part_loss(part, basis, scale) for part in parts]
    whole = mean_loss(losses)
    loss = with_answers(whole, prior)
    strides = strides_of(loss)
    path = descend(loss, first_move(whole, basis), strides, steps)
    found = []
    for k, part in enumerate(parts):
        others = mean_loss(losses[:k] + losses[k + 1 :])
        of_others = descend(with_answers(others, prior), first_move(others, basis), strides, steps)
        found.append(changes(part, of_others, scale))
    measured = Changes(*(np.concatenate(field, 1) for field in zip(*found, strict=True)))
    w = np.concatenate([part.weights for part in parts])
    held_out, error = mean_and_error((measured.implicit + measured.likelihood).T, w)
    return Course(path, loss.at(path), held_out, error, measured.mismatch @ w, chosen_step(measured, w))
