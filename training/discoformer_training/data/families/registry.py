"""The families by name, and functions that draw their densities.

A family draws B densities in D dimensions, in coordinates of its own and at a scale of about 1. A random
affine map gives the data. Some families have parts, each of a law drawn from a given list: so a law that is
held out from training does not return as a part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from discoformer_training.data.families.copulas import draw_copulas, draw_vines
from discoformer_training.data.families.curves import draw_curves, draw_rings, draw_spirals
from discoformer_training.data.families.density import Affine, Density, Joint, Mixed
from discoformer_training.data.families.edges import draw_checkerboard, draw_edges
from discoformer_training.data.families.elliptical import StudentMixtures
from discoformer_training.data.families.manifolds import draw_manifolds
from discoformer_training.data.families.maps import Mapped, bananas, draw_maps, funnels
from discoformer_training.data.families.products import (
    ANY,
    FREEDOM_RANGE,
    LAWS,
    draw_any_product,
    draw_groups,
    draw_product,
    gaussian,
    log_weights,
    scaled,
)
from discoformer_training.data.families.rounding import draw_atoms, draw_rounded
from discoformer_training.data.families.structural import draw_structural
from discoformer_training.data.mixtures import (
    MEAN_RANGE,
    VARIANCE_RANGE,
    Mixtures,
    draw_linear,
    draw_mixtures,
    draw_rotations,
)
from discoformer_training.data.randoms import choice, log_uniform, normal, uniform

LOCATION = 3.0  # standard deviation of the centre of a density
CLUSTER_WEIGHTS = (0.02, 1.0)  # log-uniform, then normalised to sum 1: some clusters are rare
SCALES_WEIGHTS = (0.01, 1.0)  # of clusters of very different widths
LEAST_WIDTH = 1e-3  # of such clusters
LEAST_GAP = 0.02  # of spikes on a line, relative to the greatest gap


@dataclass(frozen=True)
class Family:
    """A family of densities.

    `draw` takes B, D, the generator, and the laws of parts if `has_parts`.
    """

    draw: Callable[..., Density]
    has_parts: bool = False
    least_dim: int = 1


def draw_density(
    name: str,
    batch: int,
    dim: int,
    *,
    affine_condition: float = 1.0,
    parts: Sequence[str] = ANY,
    generator: torch.Generator,
) -> Affine:
    """Draw densities of a family.

    Args:
        name: of the family, a key of FAMILIES.
        batch: number of densities B.
        dim: dimension D, at least `least_dim` of the family.
        affine_condition: as in `draw_mixtures`.
        parts: laws of the parts, keys of LAWS.
        generator: source of randomness. The densities are on its device.
    """
    family = FAMILIES[name]
    own = family.draw(batch, dim, generator, *([parts] if family.has_parts else []))
    return placed(own, batch, dim, affine_condition, generator)


def placed(own: Density, batch: int, dim: int, affine_condition: float, generator: torch.Generator) -> Affine:
    """Apply random affine maps to B densities in D dimensions."""
    linear = draw_linear(batch, dim, affine_condition, generator)
    return Affine(own, linear, LOCATION * normal(batch, dim, generator=generator))


# Elliptical densities, and mixtures


def draw_students(
    batch: int,
    dim: int,
    generator: torch.Generator,
    *,
    modes: tuple[int, int] = (1, 1),
    freedom: tuple[float, float] = FREEDOM_RANGE,
) -> StudentMixtures:
    """Draw mixtures of Student-t distributions, with means and scales in the published ranges.

    Args:
        batch: number of densities B.
        dim: dimension D.
        generator: source of randomness.
        modes: least and greatest number of modes. All densities of a batch have the same number.
        freedom: least and greatest degrees of freedom. They are log-uniform between these.
    """
    count = modes[0] + choice(modes[1] - modes[0] + 1, generator)
    return StudentMixtures(
        log_weights=log_weights(batch, count, generator),
        means=uniform(-MEAN_RANGE, MEAN_RANGE, batch, count, dim, generator=generator),
        scales=uniform(*VARIANCE_RANGE, batch, count, dim, generator=generator),
        freedom=log_uniform(*freedom, batch, count, generator=generator),
    )


def _draw_clusters(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw densities of two to five clusters, each of one law."""
    count = 2 + choice(4, generator)

    def cluster() -> Density:
        size = uniform(*VARIANCE_RANGE, batch, 1, 1, generator=generator).sqrt()
        center = uniform(-MEAN_RANGE, MEAN_RANGE, batch, dim, generator=generator)
        own = draw_any_product(batch, dim, generator, parts)
        return Affine(own, size * draw_rotations(batch, dim, generator), center)

    weights = log_uniform(*CLUSTER_WEIGHTS, batch, count, generator=generator)
    return Mixed(weights.log().log_softmax(-1), tuple(cluster() for _ in range(count)))


def _draw_outliers(batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY) -> Density:
    """Draw Gaussian mixtures, or independent coordinates, with 1 to 10 % outliers from a broad Gaussian."""
    share = log_uniform(0.01, 0.1, batch, 1, generator=generator)
    clean: Density = (
        draw_mixtures(batch, dim, modes=(1, 5), generator=generator)
        if choice(2, generator)
        else draw_any_product(batch, dim, generator, parts)
    )
    broad = scaled(gaussian(batch, dim), uniform(4, 10, batch, 1, 1, generator=generator).expand(-1, -1, dim))
    return Mixed(torch.cat([(-share).log1p(), share.log()], 1), (clean, broad))


def _draw_thin(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw mixtures of one to four Gaussians, each near a random subspace."""
    count = 1 + choice(4, generator)
    rank = 1 + choice(max(1, dim // 2), generator)
    noise = log_uniform(1e-4, 0.05, batch, 1, 1, generator=generator)

    def sheet() -> Density:
        variances = uniform(*VARIANCE_RANGE, batch, 1, rank, generator=generator)
        return Mixtures(
            log_weights=torch.zeros_like(noise[..., 0]),
            means=uniform(-MEAN_RANGE, MEAN_RANGE, batch, 1, dim, generator=generator),
            variances=torch.cat([variances + noise, noise.expand(-1, -1, dim - rank)], -1),
            linear=draw_rotations(batch, dim, generator),
        )

    return Mixed(log_weights(batch, count, generator), tuple(sheet() for _ in range(count)))


def _draw_scales(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw two to six Gaussians with widths from 1 to 1/1000 and weights from 1 to 1/100."""
    count = 2 + choice(5, generator)

    def cluster(narrowest: float) -> Density:
        width = log_uniform(narrowest, 1, batch, 1, 1, generator=generator)
        return Mixtures(
            log_weights=torch.zeros_like(width[..., 0]),
            means=uniform(-MEAN_RANGE, MEAN_RANGE, batch, 1, dim, generator=generator),
            variances=width**2 * uniform(*VARIANCE_RANGE, batch, 1, dim, generator=generator),
            linear=draw_rotations(batch, dim, generator),
        )

    shares = log_uniform(*SCALES_WEIGHTS, batch, count, generator=generator).log().log_softmax(-1)
    return Mixed(shares, tuple(cluster(1.0 if k == 0 else LEAST_WIDTH) for k in range(count)))


def _draw_spikes(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw 2 to 14 narrow Gaussians along a line, which may stand on a broad one: claws and combs.

    Each is narrower than its gap on the line, by the same factor. The gaps are even, or shrink geometrically,
    or are random. Across the line the spikes are as narrow, or as broad as published mixtures.
    """
    count = 2 + choice(13, generator)
    smallest = uniform(0, 1, batch, 1, generator=generator) * choice(2, generator)
    gaps = LEAST_GAP ** (smallest * torch.linspace(0, 1, count, device=generator.device))
    if choice(3, generator) == 0:
        gaps = gaps * log_uniform(0.1, 1, batch, count, generator=generator)
    gaps = 2 * MEAN_RANGE * gaps / gaps.sum(-1, keepdim=True)
    places = gaps.cumsum(-1) - gaps / 2 - MEAN_RANGE
    widths = gaps * log_uniform(0.05, 0.5, batch, 1, generator=generator)
    across = widths if choice(2, generator) else torch.ones_like(widths)
    shares = gaps if choice(2, generator) else log_weights(batch, count, generator).exp()
    of_broad = uniform(0, 1, batch, 1, generator=generator) * choice(2, generator)
    weights = torch.cat([of_broad, (1 - of_broad) * shares / shares.sum(-1, keepdim=True)], -1)
    line = torch.cat([places[..., None], places.new_zeros(batch, count, dim - 1)], -1)
    spread = torch.cat([widths[..., None], across[..., None].expand(-1, -1, dim - 1)], -1)
    broad = uniform(1, MEAN_RANGE, batch, 1, 1, generator=generator).expand(-1, -1, dim)
    return Mixtures(
        log_weights=weights.log(),
        means=torch.cat([torch.zeros_like(broad), line], 1),
        variances=torch.cat([broad, spread], 1).square(),
        linear=torch.eye(dim, dtype=places.dtype, device=places.device).expand(batch, -1, -1),
    )


# Curved densities


def _with_others(
    plane: Density, batch: int, dim: int, generator: torch.Generator, parts: Sequence[str] = ANY
) -> Density:
    """Extend a density in the plane by independent coordinates, Gaussian or of another law."""
    if dim == 2:
        return plane
    others = (
        draw_any_product(batch, dim - 2, generator, parts)
        if choice(2, generator)
        else gaussian(batch, dim - 2)
    )
    return Joint((plane, others), (2, dim - 2))


def _draw_curved(
    draw: Callable[[int, torch.Generator], Density],
    batch: int,
    dim: int,
    generator: torch.Generator,
    parts: Sequence[str] = ANY,
) -> Density:
    return _with_others(draw(batch, generator), batch, dim, generator, parts)


def _draw_bananas(batch: int, dim: int, generator: torch.Generator) -> Density:
    bend = uniform(-1, 1, batch, 1, dim - 1, generator=generator)
    width = uniform(0.2, 0.6, batch, 1, dim - 1, generator=generator)
    own = scaled(gaussian(batch, dim), torch.cat([torch.ones_like(width[..., :1]), width], -1))
    return Mapped(own, (bananas(bend),))


def _draw_funnels(batch: int, dim: int, generator: torch.Generator) -> Density:
    return Mapped(gaussian(batch, dim), (funnels(uniform(0.3, 1.2, batch, 1, 1, generator=generator)),))


def _draw_warped(batch: int, dim: int, generator: torch.Generator) -> Density:
    """Draw mixtures of one to four Gaussians after random smooth maps."""
    own = draw_mixtures(batch, dim, modes=(1, 4), generator=generator)
    return Mapped(own, draw_maps(batch, dim, generator))


FAMILIES: dict[str, Family] = {
    **{name: Family(partial(draw_product, name)) for name in LAWS},
    "groups": Family(draw_groups, has_parts=True),
    "student": Family(draw_students),
    "student_mixtures": Family(partial(draw_students, modes=(2, 6))),
    "clusters": Family(_draw_clusters, has_parts=True),
    "outliers": Family(_draw_outliers, has_parts=True),
    "thin": Family(_draw_thin),
    "ring": Family(partial(_draw_curved, draw_rings), has_parts=True, least_dim=2),
    "spirals": Family(partial(_draw_curved, draw_spirals), has_parts=True, least_dim=2),
    "curves": Family(partial(_draw_curved, draw_curves), has_parts=True, least_dim=2),
    "banana": Family(_draw_bananas, least_dim=2),
    "funnel": Family(_draw_funnels, least_dim=2),
    "warped": Family(_draw_warped),
    "structural": Family(draw_structural, has_parts=True),
    "copulas": Family(draw_copulas, least_dim=2),
    "vines": Family(draw_vines, least_dim=2),
    "manifolds": Family(draw_manifolds, least_dim=2),
    "scales": Family(_draw_scales),
    "spikes": Family(_draw_spikes),
    "rounded": Family(draw_rounded, has_parts=True),
    "atoms": Family(draw_atoms, has_parts=True),
    "edges": Family(draw_edges, has_parts=True),
    "checkerboard": Family(partial(_draw_curved, draw_checkerboard), has_parts=True, least_dim=2),
}
"""All families, by name."""
