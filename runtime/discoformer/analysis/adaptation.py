"""Adaptation to one data set: a first move and gradient steps, on losses that need no labels.

What changes is the last linear map of the heads. The losses are quadratic in it (see ``adaptation_losses``).
The first move goes along a basis that was learned from other data sets and is stored with the model; further
steps may go anywhere. Held-out points decide how many steps are kept (see ``adaptation_descent``). With no
step kept, the model stays as it was. The map takes no part in encoding, so the encoded sample stays valid.

The inputs of the map come from PyTorch (``pip install torch``). An adapted model is served
without it.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from discoformer.analysis.adaptation_descent import ASKED, OnPart, course_of
from discoformer.analysis.adaptation_map import moved
from discoformer.analysis.torch_network import network_of, read, weights_of
from discoformer.base.arrays import spaced
from discoformer.errors import ModelError
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, read_seed, whole_number
from discoformer.onnx.graphs import Graphs

COMPARED = 4096  # most points of the sample at which answers before and after are compared
_TOLERANCE = 1e-4  # by which adapted answers may differ from PyTorch's, besides rounding


@dataclass(frozen=True)
class Adaptation:
    """What adaptation did. Losses are changes from the model as it was."""

    steps: int  # steps kept; with 0 the model stays as it was
    loss: tuple[float, ...]  # change after each step, from step 0 on, at the points it was learned from
    held_out: tuple[float, ...]  # the same at held-out points
    held_out_error: tuple[float, ...]  # standard error of held_out
    mismatch: tuple[float, ...]  # of the heads at held-out points: mean square, over that of the score
    log_density_change: float  # root mean square over the sample, nats
    score_change: float  # root mean square over the sample, relative to that of the score


def adapt(fitted: FittedDensity, steps: int, seed: int, on_progress: OnPart) -> tuple[Graphs, Adaptation]:
    """Adapt a model to a sample that it has encoded.

    Args:
        fitted: The sample, encoded by the model.
        steps: Number of steps tried.
        seed: Seed of the cut into parts, the directions and the draws.
        on_progress: Called with the number of parts that are done, after each of ``PARTS``.

    Returns:
        The graphs of the adapted model (the same graphs if no step was kept), and what was done.

    Raises:
        InputError: ``steps`` or ``seed`` is not a whole number or is too low, or the sample has too few
            points.
        ModelError: The weights are not those of the graphs, or the adapted graphs differ from PyTorch.
        ModelNotFoundError: The model's folder holds no weights, or no basis.
        MissingExtraError: PyTorch is not installed.
    """
    steps, seed = whole_number("steps", steps, 1), read_seed(seed)
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
    z = fitted.z[spaced(len(fitted.spread.points), COMPARED)]
    before, after = (which.answer_in_frame(z) for which in (fitted, new))
    _check_parity(_distance(fitted, z, before), _distance(new, z, after))
    log_density_change, score_change = _differences(before, after)
    return adapted, replace(done, log_density_change=log_density_change, score_change=score_change)


def _check_parity(rounding: float, error: float) -> None:
    """Check that an adapted model agrees with PyTorch as well as the model did before.

    Raises:
        ModelError: It does not.
    """
    allowed = _TOLERANCE + 10 * rounding
    if not error <= allowed:
        raise ModelError(
            f"the adapted model differs from PyTorch by {error:.1e} of its greatest answer, allowed are "
            f"{allowed:.0e}: try fewer steps, or use the model without adaptation"
        )


def _distance(fitted: FittedDensity, z: Floats, answers: tuple[Floats, Floats]) -> float:
    """Return the greatest difference from PyTorch's answers at points z, over 1 + the greatest answer."""
    wanted = read(network_of(fitted.graphs), fitted.encoded.arrays, z[:ASKED])
    return max(
        float(np.abs(ours[:ASKED] - theirs).max() / (1 + np.abs(theirs).max()))
        for ours, theirs in zip(answers, wanted[:2], strict=True)
    )


def _differences(before: tuple[Floats, Floats], after: tuple[Floats, Floats]) -> tuple[float, float]:
    """Return the changes of log-density (root mean square, nats) and score (relative)."""
    log_density, score = (new - old for new, old in zip(after, before, strict=True))
    relative = math.sqrt(np.square(score).sum() / np.square(before[1]).sum())
    return math.sqrt(np.square(log_density).mean()), relative
