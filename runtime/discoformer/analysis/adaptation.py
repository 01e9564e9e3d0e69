"""Adaptation to one data set: a first move and gradient steps, on losses without labels.

The context is cut at random into ``PARTS`` parts. The network reads all but one part, with the frame and the
components of those points alone, and is asked at the points of that part; so for each part in turn. What
moves is the last linear map of the heads, in which the loss is quadratic (``descent`` has the formulas): the
rest is computed once, and steps cost next to nothing. The first goes along a basis that travels with the
model, and tells from other data sets what a change of the map may be, as far as the noise of the slope lets
it; further steps go anywhere.

To stop in time, the descent is run without each part in turn, and measured there. With ``d_i(s, t)`` the
change of ``L_ism + L_lik`` of point i from step s to step t, learnt from the other parts, and weights ``w``
of sum 1::

    held out (s, t) = sum_i w_i d_i(s, t)        error (s, t)^2 = sum_i w_i^2 (d_i(s, t) - held out (s, t))^2
    t* = 0                              where held out (0, 1) > DOUBT error (0, 1),
         argmin held out (1, t) + CAUTION error (1, t) over 1 <= t <= last     else

The first move knows how far to go: so it is made unless held-out points speak against it, and further steps
if these speak for them. ``last`` is 1, or the last step before the heads come apart: before their mismatch at
held-out points, the mean of ``L_con``, exceeds ``MISMATCH`` times what it was and what ``L_lik`` has fallen
by together. Where components are sharp, ``L_ism`` has tails so heavy that its error says nothing; the heads
do not agree by chance. The answer is step ``t*`` of the descent on all parts; with ``t* = 0``, the model as
it was. What moves takes no part in encoding, so the context stays as it was encoded.

The tokens come from PyTorch (``pip install 'discoformer[adapt]'``); an adapted model is served without it.
Time and memory grow as points read times points asked, and stay bounded: the network reads landmarks of a
long context, and is asked at ``ASKED`` points of each part at most.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from discoformer.analysis.adaptation_losses import (
    Changes,
    Part,
    changes,
    descend,
    first_move,
    make_part,
    probes,
    said_by,
    strides_of,
    together,
    with_answers,
)
from discoformer.analysis.held_out import mean_and_error
from discoformer.analysis.torch_network import network_of, read, weights_of
from discoformer.base.arrays import spaced
from discoformer.base.base import Base
from discoformer.base.frame import Frame
from discoformer.base.mixture import broadened, draw, evaluate
from discoformer.errors import InputError, ModelError, ModelNotFoundError, require
from discoformer.fit import fit_bases, graph_inputs, ignore, landmarks_of, read_sample
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, whole_number
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.weights import BASIS, read_weights_file, replaced

PARTS = 5
ASKED = 512  # points of a part, at most
COMPARED = 4096  # points of the sample at which answers are compared before and after, at most
DRAWS = 512  # for the integral and the model's own answers, in each part
DIRECTIONS = 8  # along which derivatives are taken at a point, or all D
PRIOR = 64.0  # points for which the model's own answers count, once the first move is made
DOUBT = 2.0  # standard errors by which held-out points may be the worse for the first move
CAUTION = 3.0  # standard errors by which they must be the better for further steps
MISMATCH = 2.0  # times what it was that the mismatch of the heads may become, without gain in likelihood
FEWEST = 20  # points of a context that is cut into parts
MAP = "heads.linear"  # the parameters that move: its .weight and .bias
_SCORE_ROWS = 2  # of the map, from here on; the first is the log-density's
_TOLERANCE = 1e-4  # by which adapted answers may differ from PyTorch's, beside rounding

OnPart = Callable[[int], None]  # called with the number of parts that are done


@dataclass(frozen=True)
class Adaptation:
    """What adaptation did; losses are relative, and 0 before the first step."""

    steps: int  # that were kept; 0: the model is as it was
    loss: tuple[float, ...]  # change after each step, from 0 on, at the points learnt from
    held_out: tuple[float, ...]  # likewise at points that were not learnt from
    held_out_error: tuple[float, ...]  # standard error of that
    mismatch: tuple[float, ...]  # of the heads at held-out points: mean square, relative to that of the score
    log_density_change: float  # root mean square over the context, nats
    score_change: float  # likewise, relative to the score


class Course(NamedTuple):
    """A descent, by steps from 0 on."""

    path: Floats  # (steps + 1, n) changes of the map
    loss: Floats  # (steps + 1,) change of the loss
    held_out: Floats  # (steps + 1,) likewise at held-out points
    held_out_error: Floats  # (steps + 1,) standard error of that
    mismatch: Floats  # (steps + 1,) of the heads at held-out points
    chosen: int  # step


def adapt(fitted: FittedDensity, steps: int, seed: int, on_progress: OnPart) -> tuple[Graphs, Adaptation]:
    """Adapt a model to a sample that it has encoded.

    Args:
        fitted: The sample, encoded by the model.
        steps: How many are tried.
        seed: Of the cut into parts, of directions and draws.
        on_progress: Called with the number of parts that are done, after each of ``PARTS``.

    Returns:
        The adapted model, the same where nothing was better, and what was done.

    Raises:
        InputError: An argument is malformed, or the context has too few points.
        ModelError: The weights are not those of the graphs, or adapted graphs differ from PyTorch.
        ModelNotFoundError: The model's folder holds no weights, or no basis.
        MissingExtraError: PyTorch is not installed.
    """
    steps, seed = whole_number("steps", steps, 1), whole_number("seed", seed, 0)
    graphs = fitted.graphs
    course = course_of(fitted, steps, seed, on_progress)
    loss, held_out, error, mismatch = (tuple(map(float, values)) for values in course[1:-1])
    done = Adaptation(
        course.chosen, loss, held_out, error, mismatch, log_density_change=0.0, score_change=0.0
    )
    if course.chosen == 0:
        return graphs, done
    weights = moved(weights_of(graphs), course.path[course.chosen])
    adapted = graphs.with_weights(weights)
    new = fitted.with_graphs(adapted)
    z = fitted.z[spaced(len(fitted.data.points), COMPARED)]
    before, after = (which.answer_in_frame(z) for which in (fitted, new))
    _check_parity(_distance(fitted, z, before), _distance(new, z, after))
    log_density_change, score_change = _differences(before, after)
    return adapted, replace(done, log_density_change=log_density_change, score_change=score_change)


def course_of(fitted: FittedDensity, steps: int, seed: int, on_progress: OnPart = ignore) -> Course:
    """Return the descent on a sample and its losses on held-out points; see ``adapt`` for the arguments."""
    require("torch")
    basis, rng, parts = basis_of(fitted.graphs), np.random.default_rng(seed), []
    for part in _parts(fitted, rng):
        parts.append(part)
        on_progress(len(parts))
    return _course(parts, basis, steps, PRIOR / fitted.size)


def chosen_step(measured: Changes, weights: Floats) -> int:
    """The step t* to stop at, by losses at held-out points of weights (m,); see the head of this module."""
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


def basis_of(graphs: Graphs) -> Floats:
    """The directions (n, r) in which the map of a model moves.

    Raises:
        ModelError: They are not of this model.
        ModelNotFoundError: There are none.
    """
    entries = _entries(read_weights_file(weights_of(graphs)))
    path = graphs.folder / BASIS
    try:
        basis = read_weights_file(path.read_bytes(), path).get("basis", np.empty(0)).astype(float)
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            f"no {BASIS} in {graphs.folder}, which adaptation needs: take the whole folder from its source, "
            "or run discoformer-train basis on the checkpoint and export it again"
        ) from error
    if basis.ndim != 2 or len(basis) != entries or not np.isfinite(basis).all():
        raise ModelError(
            f"{path} has a basis of shape {basis.shape}, needed ({entries}, r), finite: take the whole "
            "folder from its source again"
        )
    return basis


def _parts(fitted: FittedDensity, rng: np.random.Generator) -> Iterator[Part]:
    """Cut the sample into parts, and ask the network at each part, given the others."""
    network = network_of(fitted.graphs)
    points, weights = fitted.z, fitted.data.weights
    n, dim = points.shape
    if n < FEWEST:
        raise InputError(f"adaptation needs {FEWEST} points or more, to hold some out, got {n}")
    for held in np.array_split(rng.permutation(n), PARTS):
        others = np.setdiff1d(np.arange(n), held)
        given, base, own = _encode(fitted, points[others], weights[others])
        asked, proposal = own.to_frame(points[held[:ASKED]]), broadened(base.components)
        drawn = draw(proposal, DRAWS, rng)
        directions, drawn_directions = (_directions(len(at), dim, rng) for at in (asked, drawn))
        w = weights[held[:ASKED]]
        yield make_part(
            asked=read(network, given, probes(asked, directions)),
            drawn=read(network, given, drawn),
            weights=w * weights[held].sum() / w.sum(),
            directions=directions,
            drawn_directions=drawn_directions,
            log_proposal=evaluate(proposal, drawn[None]).log_density[0],
        )


def _directions(m: int, dim: int, rng: np.random.Generator) -> Floats:
    """Random directions (P, m, D), orthonormal at each of m points."""
    found: Floats = np.linalg.qr(rng.normal(size=(m, dim, min(dim, DIRECTIONS))))[0].transpose(2, 0, 1)
    return found


def _encode(fitted: FittedDensity, points: Floats, weights: Floats) -> tuple[dict[str, Any], Base, Frame]:
    """Encode some of the points, given in the frame of all: inputs and outputs of the graph, base and frame.

    They get a frame of their own, since the frame of all points would tell of those that are held out.
    """
    sample = read_sample(points, weights, max(1.0, float(weights.sum()) * fitted.size))
    base = fit_bases([sample])
    landmarks = landmarks_of(sample, fitted.metadata.landmarks)
    given = graph_inputs([sample.frame], base, [landmarks])
    return given | fitted.graphs.encode(given), base, sample.frame


def _course(parts: list[Part], basis: Floats, steps: int, prior: float) -> Course:
    """The descent on all parts, and the descents without each of them, measured there."""
    scale = sum(float(part.weights @ np.square(part.own).mean(0)) * part.dim for part in parts)
    said = [said_by(part, basis, scale) for part in parts]
    whole = together(said)
    loss = with_answers(whole, prior)
    strides = strides_of(loss)
    path = descend(loss, first_move(whole, basis), strides, steps)
    found = []
    for k, part in enumerate(parts):
        others = together(said[:k] + said[k + 1 :])
        of_others = descend(with_answers(others, prior), first_move(others, basis), strides, steps)
        found.append(changes(part, of_others, scale))
    measured = Changes(*(np.concatenate(field, 1) for field in zip(*found, strict=True)))
    w = np.concatenate([part.weights for part in parts])
    held_out, error = mean_and_error((measured.implicit + measured.likelihood).T, w)
    return Course(path, loss.at(path), held_out, error, measured.mismatch @ w, chosen_step(measured, w))


def moved(weights: bytes, change: Floats) -> bytes:
    """The weights in a safetensors file, with a change (n,) of the map."""
    old = read_weights_file(weights)
    matrix, bias = (np.array(old[f"{MAP}.{name}"], float) for name in ("weight", "bias"))
    channels = len(bias) - _SCORE_ROWS
    score, log_density = np.split(change, [channels * (matrix.shape[1] + 1)])
    added = np.zeros((len(bias), matrix.shape[1] + 1))
    added[0], added[_SCORE_ROWS:] = log_density, score.reshape(-1, channels).T
    return replaced(weights, {f"{MAP}.weight": matrix + added[:, :-1], f"{MAP}.bias": bias + added[:, -1]})


def _entries(parameters: Mapping[str, Any]) -> int:
    """How many numbers of the map move."""
    channels, columns = parameters[f"{MAP}.weight"].shape
    return int((channels - _SCORE_ROWS + 1) * (columns + 1))


def _check_parity(rounding: float, error: float) -> None:
    """Refuses an adapted model that is further from PyTorch than the model was, beyond rounding."""
    allowed = _TOLERANCE + 10 * rounding
    if not error <= allowed:
        raise ModelError(
            f"the adapted model differs from PyTorch by {error:.1e} of its greatest answer, needed "
            f"{allowed:.0e} at most: try fewer steps, or go on without adaptation"
        )


def _distance(fitted: FittedDensity, z: Floats, answers: tuple[Floats, Floats]) -> float:
    """Return the greatest difference from PyTorch's answers at points z, over 1 + the greatest of those."""
    wanted = read(network_of(fitted.graphs), fitted.encoded.arrays, z[:ASKED])
    return max(
        float(np.abs(ours[:ASKED] - theirs).max() / (1 + np.abs(theirs).max()))
        for ours, theirs in zip(answers, wanted[:2], strict=True)
    )


def _differences(before: tuple[Floats, Floats], after: tuple[Floats, Floats]) -> tuple[float, float]:
    log_density, score = (new - old for new, old in zip(after, before, strict=True))
    relative = math.sqrt(np.square(score).sum() / np.square(before[1]).sum())
    return math.sqrt(np.square(log_density).mean()), relative
