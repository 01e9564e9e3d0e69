"""The integral of an estimated density, which the network is not forced to make 1, by importance sampling.

Points ``z_i`` are drawn in the frame from a proposal ``q``, read from the components of the estimate (a
mixture of Student-t distributions, see ``components``): most of them as they are, the rest wider and with
heavier tails, for where the network puts more than they do. With ``p`` the density in the frame, whose
integral is that of the density in the units of the data::

    log of the integral = log mean_i w_i      w_i = p(z_i) / q(z_i)
    its standard error = std(w) / (mean(w) sqrt(n))      effective samples = (sum w)^2 / sum w^2

Shapes: n samples, K components, D dimensions. Float64.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from discoformer.base.mixture import Components, draw, mixture_log_density
from discoformer.io.inputs import Floats, whole_number

SAMPLES = 4096  # points drawn, by default


class Normalization(NamedTuple):
    """The integral of exp(log_density) over all of space, and how well it is known."""

    log_integral: float  # nats; 0 for a density
    standard_error: float  # of log_integral, nats; to be believed with some 100 effective samples or more
    effective_samples: float  # from 1 to the number drawn: how evenly they carry the integral


def normalization_of(
    log_density: Callable[[Floats], Floats], proposal: Components, samples: int, seed: int
) -> Normalization:
    """Integrates a density in the frame.

    Args:
        log_density: From points (n, D) in the frame to the log-density there (n,), nats.
        proposal: A mixture of one data set, somewhat broader than the density.
        samples: How many points are drawn.
        seed: Of the draw; the same seed draws the same points.

    Raises:
        InputError: ``samples`` or ``seed`` is no whole number, or too low.
    """
    count, rng = whole_number("samples", samples, 2), np.random.default_rng(whole_number("seed", seed, 0))
    points = draw(proposal, count, rng)
    return integral_of(log_density(points) - mixture_log_density(proposal, points))


def integral_of(log_weights: Floats) -> Normalization:
    """The log of the mean weight, from the logarithms (n,) of importance weights."""
    greatest = float(log_weights.max())
    weights = np.exp(log_weights - greatest)
    mean, square = float(weights.mean()), float(np.square(weights).mean())
    spread = math.sqrt(max(0.0, square - mean**2) / (len(weights) - 1))
    return Normalization(greatest + math.log(mean), spread / mean, len(weights) * mean**2 / square)
