"""Checks of the mixture that the network makes of a sample.

Shapes: K components, n landmarks, D dimensions.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from discoformer.base.frame import Frame, Frames
from discoformer.base.mixture import LEAST_LOG_WEIGHT, Components, components_of
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.errors import DegenerateDataError, ModelError
from discoformer.io.inputs import AnyFloats, Floats

ASKED = 64  # number of landmarks at which a mixture is compared with one Gaussian
WORST = 2.0  # nats by which it may be worse
WORSE = 1.0  # nats by which a mixture from more landmarks may be worse than one from fewer


def check_mixture(mixture: Sequence[AnyFloats], frame: Frame) -> None:
    """Check that the network found a density.

    Args:
        mixture: Outputs of the mixture graph for one sample.
        frame: Of the sample.

    Raises:
        DegenerateDataError: It found none.
    """
    present = mixture[0] > LEAST_LOG_WEIGHT
    if not (present.any() and all(np.isfinite(array[present]).all() for array in mixture)):
        raise DegenerateDataError(
            f"the network finds no density for X, of effective size {frame.effective_size:.4g}: check "
            "the weights and the landmarks"
        )


def is_astray(
    mixture: Sequence[AnyFloats],
    frame: Frame | Frames[Floats],
    points: Floats,
    counts: Floats,
    other: Sequence[AnyFloats] | None = None,
) -> bool:
    """Return whether a mixture is no density, or describes the sample far worse than a simpler one.

    Such a mixture is wrong. On a few samples with very heavy tails the activations of the network grow
    without bound; with fewer landmarks they do not. The simpler density is one Gaussian with the moments of
    the sample. As in BIC, each of its D (D + 3) / 2 parameters costs log N / 2N nats, for N effective rows.

    Args:
        mixture: Outputs of the mixture graph for one sample.
        frame: Of the sample, or of it alone.
        points: Landmarks (n, D), in the order of their radius.
        counts: (n,) of each.
        other: Outputs of the mixture graph for fewer landmarks of the same sample, to compare with too.
    """
    some = slice(None, None, -(-len(points) // ASKED))
    points, counts = points[some], counts[some]
    mean = _mean_log_density(mixture, points, counts)
    size, dim = max(float(np.squeeze(frame.effective_size)), 2.0), points.shape[1]
    gaussian = 0.5 * (float(np.squeeze(frame.log_det_precision)) - dim * (1 + np.log(2 * np.pi)))
    cost = dim * (dim + 3) / 4 * np.log(size) / size
    least = gaussian - cost - WORST
    if other is not None:
        least = max(least, _mean_log_density(other, points, counts) - WORSE)
    return bool(mean < least)


def _mean_log_density(mixture: Sequence[AnyFloats], points: Floats, counts: Floats) -> float:
    """Return the mean log-density of a mixture in nats at points (n, D); -inf if it is no density."""
    present = ~(mixture[0] <= LEAST_LOG_WEIGHT)  # NaN counts as present
    if not all(np.isfinite(array[present]).all() for array in mixture):
        return -np.inf
    try:
        answers = MixtureAnswers(checked_components(array.astype(float) for array in mixture))
    except ModelError:  # a scale is no covariance
        return -np.inf
    return float(np.average(answers.answer(points)[0], weights=counts))


def checked_components(fields: Iterable[Floats]) -> Components[Floats]:
    """Return the components (1, K) of one mixture; see ``components_of``.

    Raises:
        ModelError: It is no mixture.
    """
    try:
        found = components_of(*fields)
    except np.linalg.LinAlgError as error:
        raise ModelError(
            f"the mixture of the model or of the saved estimate has a scale that is no covariance ({error}): "
            "estimate again with the released model"
        ) from error
    if not found.freedom.size:
        raise ModelError(
            "the mixture of the model or of the saved estimate has no component: estimate again with the "
            "released model"
        )
    return found
