"""Marginals: the density of some of the features, whatever the values of the others.

If the rows ``x_i`` come from ``f``, then their chosen features ``x_ig`` come from the marginal: the integral
of ``f`` over the other features. So the same model reads the chosen columns of the sample (``"refit"``).

An estimate of ``effort="fast"`` is a mixture, and its marginal has a closed form too (``"mixture"``). Let
``z = (x - m) A`` be the frame of all features, and ``z' = (x_g - m') A'`` that of the chosen ones. A
component of centre ``c`` and scale matrix ``S`` keeps its weight and degrees of freedom, and gets::

    z' = z B + b    B = (A^-1)_g A'    b = (m_g - m') A'        centre c B + b,  scale matrix B^T S B

The first does not depend on the other features. The second is the exact integral of the joint density.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

from discoformer.errors import InputError
from discoformer.fit import Sample, read_sample
from discoformer.fitted import FittedDensity, warn_of_range
from discoformer.io.features import Feature, feature_indices
from discoformer.io.inputs import names_of
from discoformer.io.tables import Table
from discoformer.onnx.graphs import Encoded
from discoformer.onnx.names import MIXTURE

Method: TypeAlias = Literal["refit", "mixture"]
D = TypeVar("D", bound=FittedDensity)


def marginal_of(fitted: D, features: Feature | Iterable[Feature], method: Method = "refit") -> D:
    """Estimate the density of some features; see ``Estimate.marginal``."""
    if method not in ("refit", "mixture"):
        raise InputError(f"method must be 'refit' or 'mixture', got {method!r}")
    if method == "mixture":
        fitted.require_effort("fast", "method='mixture'")
    chosen = feature_indices("features", features, fitted.diagnostics.dim, fitted.columns)
    points, weights = fitted.data
    table = Table(points[:, chosen], names_of(chosen, fitted.columns))
    cells, size = fitted.cells.of(chosen), fitted.size / (1 - fitted.cells.left_out)
    known = cells if fitted.is_spread else None  # else the points are in their cells already
    sample = read_sample(
        table,
        weights,
        size,
        effort=fitted.effort,
        rounding=known,
        allow_singular=fitted.reading.allow_singular,
    )._replace(cells=cells)
    if method == "mixture":
        return _marginal_mixture(fitted, chosen, sample)
    log_share = sample.frame.log_share + fitted.frame.log_share
    sample = sample._replace(
        frame=replace(sample.frame, log_share=log_share),
        contamination=sample.contamination._replace(left_out=-math.expm1(log_share)),
    )
    warn_of_range(fitted.metadata, [sample])
    return fitted.refit_sample(sample)


def _marginal_mixture(fitted: D, chosen: tuple[int, ...], sample: Sample) -> D:
    """Return the closed form, in the frame of a sample of the chosen features."""
    old, arrays, columns = fitted.frame, fitted.encoded.arrays, list(chosen)
    new = replace(sample.frame, log_share=old.log_share)
    turn = old.inverse_of(columns) @ new.linear
    shift = (old.center[columns] - new.center) @ new.linear
    log_weights, means, scales, freedom = (arrays[name] for name in MIXTURE)
    mixture = (log_weights, means @ turn + shift, turn.T @ scales @ turn, freedom)
    encoded: dict[str, Any] = {
        "context": arrays["context"] @ turn + shift,
        "log_weights": arrays["log_weights"],
    }
    return type(fitted)(
        fitted.model,
        new,
        Encoded(encoded | dict(zip(MIXTURE, mixture, strict=True))),
        replace(
            fitted.diagnostics,
            dim=len(chosen),
            rank=new.rank,
            initialisation=new.initialisation,
            shrinkage=new.shrinkage,
            **sample.cells._asdict(),
        ),
        sample.columns,
        sample.data,
        fitted.reading,
        sample.spread,
    )
