r"""The improved Sheather-Jones bandwidth of a Gaussian kernel density in one dimension.

Botev, Grotowski and Kroese, "Kernel density estimation via diffusion", *Annals of Statistics* 38, 2010,
section 4. With the sample of size N scaled to [0, 1], the squared bandwidth t that is best for a density f is

    t = (2 N sqrt(pi) |f''|^2)^(-2/5)

It needs the norm of a derivative. The norm of derivative s is estimated from f smoothed by t_s, whose best
value needs the norm of derivative s + 1, and so on. The chain starts at derivative 7, smoothed by t itself,
and t is the solution of ``t = chain(t)``. In cosine terms ``a_k`` of the histogram of the sample,

    |f^(s)|^2 = 1/2 sum_k (k pi)^(2 s) a_k^2 exp(-k^2 pi^2 t_s)

(In KDEpy 1.1.12 the bandwidth is too small, by the length of the grid divided by the range of the sample.)
"""

import numpy as np
from scipy.fft import dct
from scipy.optimize import brentq

from benchmarks.common.data_sets import Floats

BINS = 2**12
LAST = 7  # derivative that the chain starts at
LEAST_SQUARE = 1e-8  # of t, where the search begins


def improved_sheather_jones(sample: Floats) -> float:
    """Return the bandwidth, in data units, for a sample (N,) of different values."""
    low, width = sample.min() - np.ptp(sample) / 2, 2 * np.ptp(sample)
    counts, _ = np.histogram(sample, BINS, (low, low + width))
    squares = dct(counts / len(sample))[1:] ** 2
    above = LEAST_SQUARE
    while above < _chain(above, len(sample), squares):
        above *= 2
    return float(np.sqrt(brentq(lambda t: t - _chain(t, len(sample), squares), 0, above))) * width


def _chain(t: float, size: int, squares: Floats) -> float:
    """Return the squared bandwidth that is best if derivative 7 is estimated with smoothing by t."""
    frequencies = (np.pi * np.arange(1, BINS)) ** 2
    norm = 0.0
    for s in range(LAST, 1, -1):
        norm = 0.5 * float(np.sum(frequencies**s * squares * np.exp(-frequencies * t)))
        odd = np.prod(np.arange(1.0, 2 * s - 1, 2))  # 1 * 3 * .. * (2 s - 3), for the next derivative
        constant = (1 + 0.5 ** (s - 0.5)) / 3 * odd * np.sqrt(2 / np.pi)
        t = (constant / (size * norm)) ** (2 / (1 + 2 * s))
    return float((2 * size * np.sqrt(np.pi) * norm) ** -0.4)
