"""The integral of an estimated density, by importance sampling; the network does not force it to be 1.

With ``effort="fast"`` the density is a mixture of densities, so its integral is 1 exactly.

Points ``z_i`` are drawn in the frame from a proposal ``q``: the components of the estimate, a mixture of
Student-t distributions (see ``base.mixture``), of which a part is wider and has heavier tails. That part
covers the places where the network puts more density than the components do. With ``p`` the density in the
frame, whose integral is that of the density in the units of the data::

    log of the integral = log mean_i w_i      w_i = p(z_i) / q(z_i)
    its standard error = std(w) / (mean(w) sqrt(n))      effective samples = (sum w)^2 / sum w^2

Shapes: n samples, K components, D dimensions. Float64.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from discoformer.base.mixture import Components, draw, mixture_log_density
from discoformer.fitted import FittedDensity
from discoformer.io.inputs import Floats, read_seed, whole_number

SAMPLES = 4096  # default number of points drawn


class Normalization(NamedTuple):
    """The integral of exp(log_density) over all of space, and how well it is known."""

    log_integral: float  # nats; 0 for a density
    standard_error: float  # of log_integral, nats; reliable from about 100 effective samples on
    effective_samples: float  # from 1 to the number drawn; higher where the weights are more even


def normalization(fitted: FittedDensity, samples: int, seed: int) -> Normalization:
    """Estimate the integral of a fitted density; see ``Estimate.normalization``."""
    if fitted.effort == "fast":
        return Normalization(0.0, 0.0, float(whole_number("samples", samples, 2)))
    return normalization_of(fitted.log_density_in_frame, fitted.proposal, samples, seed)


def normalization_of(
    log_density: Callable[[Floats], Floats], proposal: Components[Floats], samples: int, seed: int
) -> Normalization:
    """Estimate the integral of a density in the frame.

    Args:
        log_density: Function from points (n, D) in the frame to the log-density (n,) there, in nats.
        proposal: Mixture to draw from, of one data set, somewhat broader than the density.
        samples: Number of points drawn.
        seed: Seed of the draw. The same seed draws the same points.

    Raises:
        InputError: ``samples`` or ``seed`` is not a whole number or is too low.
    """
    count, rng = whole_number("samples", samples, 2), np.random.default_rng(read_seed(seed))
    points = draw(proposal, count, rng)
    return integral_of(log_density(points) - mixture_log_density(proposal, points))


def integral_of(log_weights: Floats) -> Normalization:
    """Return the integral that importance weights give, from their logarithms (n,)."""
    greatest = float(log_weights.max())
    weights = np.exp(log_weights - greatest)
    mean, square = float(weights.mean()), float(np.square(weights).mean())
    spread = math.sqrt(max(0.0, square - mean**2) / (len(weights) - 1))
    return Normalization(greatest + math.log(mean), spread / mean, len(weights) * mean**2 / square)
