"""Shapes of the arrays of graphs and of estimates: one table, and one check of arrays against it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

SHAPES = {  # each letter stands for one size; see ``graphs``, and P for the components of a mixture
    "context": "BND",
    "log_weights": "BN",
    "precision_root": "BDD",
    "log_det_precision": "B",
    "effective_size": "B",
    "all_points": "BAD",
    "all_log_weights": "BA",
    "mixture_log_weights": "BP",
    "mixture_means": "BPD",
    "mixture_scales": "BPDD",
    "mixture_freedom": "BP",
    "component_log_scale": "BK",
    "component_means": "BKD",
    "component_factors": "BKDD",
    "component_freedom": "BK",
    "product_axes": "BDD",
    "product_log_scale": "BDJ",
    "product_means": "BDJ",
    "product_factors": "BDJ",
    "product_freedom": "BDJ",
    "product_share": "B",
    "scalars": "BLNE",
    "vectors": "BLNDC",
    "sample": "BG",
    "queries": "BMD",
    "log_density": "BM",
    "score": "BMD",
}


def sizes_of(arrays: Mapping[str, Any]) -> dict[str, int]:
    """Return the size that each letter of ``SHAPES`` stands for in arrays that are known to fit."""
    return {
        letter: size
        for name, array in arrays.items()
        for letter, size in zip(SHAPES[name], array.shape, strict=True)
    }


def check_shapes(
    arrays: Mapping[str, Any],
    sizes: dict[str, int],
    shapes: Mapping[str, str],
    *dtypes: type[np.floating[Any]],
) -> None:
    """Check the dtype and the shape of arrays.

    Args:
        arrays: The arrays by name.
        sizes: The size that each letter stands for, as far as it is known. Those found are added.
        shapes: For each name a letter for each axis.
        *dtypes: What they may have.

    Raises:
        ValueError: An array does not fit. The text names it, what it is, and what is needed.
    """
    for name, array in arrays.items():
        letters = shapes[name]
        fits = array.dtype in dtypes and array.ndim == len(letters)
        if not fits or any(
            sizes.setdefault(*axis) != axis[1] for axis in zip(letters, array.shape, strict=True)
        ):
            needed = ", ".join(str(sizes.get(letter, letter)) for letter in letters)
            raise ValueError(
                f"{name} of {array.dtype}, shape {array.shape}, needed {dtypes[0].__name__}, shape ({needed})"
            )
