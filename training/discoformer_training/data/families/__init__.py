"""Families of random densities other than the published mixtures, with exact log-density and score.

densities = draw_density("laplace", 8, 5, affine_condition=30.0, generator=generator)
points = densities.sample(1000, generator=generator)
log_density, score = densities.log_density_and_score(points)
"""

from discoformer_training.data.families.density import Affine, Density
from discoformer_training.data.families.products import LAWS
from discoformer_training.data.families.registry import (
    FAMILIES,
    Family,
    draw_density,
    draw_students,
    placed,
)

__all__ = ["FAMILIES", "LAWS", "Affine", "Density", "Family", "draw_density", "draw_students", "placed"]
