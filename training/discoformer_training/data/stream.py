"""The stream of training tasks: contexts, queries, and the exact answers, in the frame.

A task depends on (seed, number, rank) alone, so a run can stop and continue at any step. All data sets of a
task have the same family, D (log-uniform), N (log-uniform) and M. Their number is chosen such that all tasks
cost about the same.

Most queries are fresh draws from the density. Some are context points. Some are draws moved off the support,
by noise or by broadening. Some are "imagined": drawn from the mixture that the heads refine, which may put
mass where the density has none. From a long context the network reads landmarks only. The frame uses more
points, and the updates of the mixture use all.

Shapes: B data sets, N context points, M queries, D dimensions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discoformer.base.arrays import take_rows
from discoformer.base.frame import fit_frames
from discoformer.base.mixture import Components, evaluate, log_peak
from discoformer.errors import InputError
from discoformer_training.data.context import LANDMARKS, Context, Propose, context_in_frame
from discoformer_training.data.families import FAMILIES, LAWS, Affine, draw_density
from discoformer_training.data.mixtures import Mixtures, draw_mixtures
from discoformer_training.data.randoms import gamma, normal, uniform

FULL_BATCH_DIM = 50  # D at which a task has half as many tokens, since the cost grows with D
MOST_PRODUCTS = 2**20  # of two coordinates, over the queries of a data set
FULL_BATCH_SIZE = 1024  # N at which attention makes a token twice as expensive
DEEPEST = 1e4  # nats: no query is moved to where the density is below exp(-DEEPEST)
FLOOR = 3.0  # nats / sqrt(D): depth of the floor of imagined queries below the density of the components
PUBLISHED = "gmm"  # the family of the published mixtures, which is not in FAMILIES


@dataclass(frozen=True)
class StreamConfig:
    """Settings of the stream."""

    dims: tuple[int, int] = (1, 100)  # least and greatest D
    line: float = 0.0  # share of the tasks with D = 1, beside those that the range of D has
    plane: float = 0.0  # likewise with D = 2
    large: float = 0.0  # share of the tasks with both D and N from the upper quarters of their ranges
    context_sizes: tuple[int, int] = (8, 4096)  # least and greatest N
    sizes_per_octave: int = (
        0  # D and N are rounded to this many sizes per factor 2, so few shapes occur; 0: all
    )
    landmarks: int = LANDMARKS  # greatest number of context points that the network reads
    modes: tuple[int, int] = (1, 10)  # least and greatest number of modes of a mixture
    affine_condition: float = 30.0  # greatest condition number of the map that half of the mixtures get
    tokens: int = 3072  # approximate number of context points and queries of a task
    queries: float = 0.5  # queries per context point
    query_range: tuple[int, int] = (64, 1024)  # least and greatest number of queries of a data set
    fresh: float = 0.65  # share of fresh queries. Those that are neither fresh, seen nor noised are broadened
    seen: float = 0.15  # share of queries that are context points
    noised: float = 0.12  # share of queries with noise
    imagined: float = 0.0  # number of imagined queries, relative to all others; only for the heads
    # Shares of the tasks. Densities made of several laws use only the laws listed here, or all if none is.
    families: dict[str, float] = field(default_factory=lambda: {PUBLISHED: 1.0})

    def __post_init__(self) -> None:
        for name in ("dims", "context_sizes", "modes", "query_range"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise InputError(
                    f"{name} must be a least number, 1 or more, and a greatest one, got {low} and {high}"
                )
        if self.tokens < 1:
            raise InputError(f"tokens must be 1 or more, got {self.tokens}")
        known = {PUBLISHED, *FAMILIES}
        if unknown := dict(self.families).keys() - known:  # TypeError for a list
            raise InputError(f"families contains {sorted(unknown)}, needed names among {sorted(known)}")
        if any(not share >= 0 for share in self.families.values()):
            raise InputError(f"families is {self.families}, needed shares of 0 or more")
        if not any(_shares(self, self.dims[0]).values()):
            raise InputError(
                f"families is {self.families}, needed a positive share for a family defined in "
                f"{self.dims[0]} dimensions: add such a family, or raise the least of dims"
            )


@dataclass(frozen=True)
class Task:
    """B data sets in their frames, float32."""

    context: Context
    queries: Tensor  # (B, M, D): fresh draws, context points, points off the support, imagined points
    log_density: Tensor  # (B, M) nats, at least the floor
    score: Tensor  # (B, M, D)
    floor: Tensor  # (B, M) nats: lower log-densities are replaced by it; -inf except at imagined queries
    log_drawn: Tensor  # (B, n) nats, log-density that the n fresh and imagined queries together are draws of
    directions: Tensor  # (B, M, D) unit vectors, for directional derivatives
    n_fresh: int  # number of fresh queries, which come first
    n_on_support: int  # number of fresh queries and context points

    @property
    def tokens(self) -> int:
        """Number of context points and queries."""
        return self.queries.shape[0] * (self.context.whole[0].shape[1] + self.queries.shape[1])

    def each(self, change: Callable[[Any], Any]) -> "Task":
        """Apply a function to every tensor."""
        return replace(
            self,
            context=self.context.each(change),
            queries=change(self.queries),
            log_density=change(self.log_density),
            score=change(self.score),
            floor=change(self.floor),
            log_drawn=change(self.log_drawn),
            directions=change(self.directions),
        )


def draw_task(
    config: StreamConfig,
    seed: int,
    number: int,
    *,
    rank: int = 0,
    device: torch.device | str = "cpu",
    propose: Propose | None = None,
) -> Task:
    """Draw a task.

    Args:
        config: settings of the stream.
        seed: of the stream.
        number: of the task.
        rank: of the process. All ranks draw tasks of the same sizes.
        device: where the task is drawn. Devices draw different tasks.
        propose: makes the base of the contexts, which the heads need.
    """
    dim, n = _draw_sizes(config, seed, number)
    batch, m = _counts(config, dim, n, heads=propose is not None)
    generator = _generator(seed, number, 1 + rank, device=device)
    family = _draw_family(config, dim, seed, number, rank)
    densities = _draw_densities(config, family, batch, dim, generator)
    context = densities.sample(n, generator=generator)
    n_fresh, n_seen, n_noised = (round(share * m) for share in (config.fresh, config.seen, config.noised))
    n_seen = min(n, n_seen)
    draws = densities.sample(m - n_seen, generator=generator)
    off_support = _move_off_support(draws[:, n_fresh:], n_noised, densities, generator)
    frame = fit_frames(context)
    framed = context_in_frame(context, frame, config.landmarks, propose)
    queries = torch.cat([draws[:, :n_fresh], context[:, :n_seen], off_support], 1)
    base = framed.base
    n_imagined = 0 if base is None else round(config.imagined * m)
    floor = queries.new_full((batch, m + n_imagined), -math.inf)
    if base is not None and n_imagined:
        components = Components(*(field.double() for field in base.components))
        imagined = draw_components(components, n_imagined, generator)
        drawn = torch.cat([frame.to_frame(queries[:, :n_fresh]), imagined], 1)
        log_components = evaluate(components, drawn).log_density
        floor[:, m:] = log_components[:, n_fresh:] - FLOOR * math.sqrt(dim)
        queries = torch.cat([queries, frame.to_data(imagined)], 1)
    log_density, score = densities.log_density_and_score(queries)
    log_density = log_density - frame.log_abs_det[:, None]
    log_drawn = torch.cat([log_density[:, :n_fresh], log_density[:, m:]], 1)
    if n_imagined:
        share = n_imagined / (n_fresh + n_imagined)
        log_drawn = torch.logaddexp(log_drawn + math.log(1 - share), log_components + math.log(share))
    log_density = torch.maximum(log_density, floor)
    directions = torch.randn(queries.shape, generator=generator, device=device)
    return Task(
        context=framed,
        queries=frame.to_frame(queries).float(),
        log_density=log_density.float(),
        score=torch.where((log_density > floor)[..., None], frame.score_to_frame(score), 0).float(),
        floor=floor.float(),
        log_drawn=log_drawn.float(),
        directions=directions / directions.norm(dim=-1, keepdim=True),
        n_fresh=n_fresh,
        n_on_support=n_fresh + n_seen,
    )


def _draw_sizes(config: StreamConfig, seed: int, number: int) -> tuple[int, int]:
    """Draw D and N, log-uniform over their ranges except for the shares `line`, `plane` and `large`."""
    generator = _generator(seed, number, 0)
    draws = torch.rand(3, generator=generator, dtype=torch.float64).tolist()

    def log_uniform(low: int, high: int, draw: float) -> int:
        return min(high, int(math.exp(math.log(low) + draw * math.log((high + 1) / low))))

    if draws[2] >= 1 - config.large:
        draws[:2] = (0.75 + 0.25 * draw for draw in draws[:2])

    def rounded(size: int, low: int, high: int) -> int:
        if not config.sizes_per_octave:
            return size
        step = config.sizes_per_octave
        return min(high, max(low, round(2 ** (round(step * math.log2(size)) / step))))

    dim = log_uniform(*config.dims, draws[0])
    if draws[2] < config.line + config.plane:
        dim = 1 if draws[2] < config.line else 2
    n = log_uniform(*config.context_sizes, draws[1])
    return rounded(dim, *config.dims), rounded(n, *config.context_sizes)


def _counts(config: StreamConfig, dim: int, n: int, *, heads: bool) -> tuple[int, int]:
    """Return the numbers of data sets and of queries of a task, for the heads or for the mixture network."""
    least, most = config.query_range
    m = min(max(least, int(config.queries * n)), most)
    read = min(n, config.landmarks)
    if heads:
        cost = (read + m) * (1 + dim / FULL_BATCH_DIM)
    else:  # a query costs little; a context token costs more the more there are, and the more numbers it has
        m = max(1, min(m, MOST_PRODUCTS // dim**2))
        cost = (read * (1 + (read + n / 4) / FULL_BATCH_SIZE) + m / 10) * (1 + dim / 10)
    return max(1, round(config.tokens / cost)), m


def _shares(config: StreamConfig, dim: int) -> dict[str, float]:
    """Return the shares of the families that are defined in `dim` dimensions."""
    return {
        name: share
        for name, share in config.families.items()
        if name == PUBLISHED or dim >= FAMILIES[name].least_dim
    }


def _draw_family(config: StreamConfig, dim: int, seed: int, number: int, rank: int) -> str:
    """Draw the family of a task."""
    shares = _shares(config, dim)
    draw = torch.rand((), generator=_generator(seed, number, 1 + rank, 1), dtype=torch.float64).item()
    edges = np.cumsum([*shares.values()])
    return [*shares][int(np.searchsorted(edges, draw * edges[-1], side="right"))]


def _draw_densities(
    config: StreamConfig, family: str, batch: int, dim: int, generator: torch.Generator
) -> Mixtures | Affine:
    condition = config.affine_condition
    if family == PUBLISHED:
        return draw_mixtures(batch, dim, modes=config.modes, affine_condition=condition, generator=generator)
    parts = [name for name in LAWS if config.families.get(name, 0)] or [*LAWS]
    return draw_density(family, batch, dim, affine_condition=condition, parts=parts, generator=generator)


def _move_off_support(
    draws: Tensor, n_noised: int, densities: Mixtures | Affine, generator: torch.Generator
) -> Tensor:
    """Move draws (B, n, D) off the support: the first by noise, the rest away from their mean.

    A draw stays in place if the density at its new place is zero, or almost zero.
    """
    shape = (*draws.shape[:2], 1)
    noise = normal(*draws.shape, generator=generator)
    noised = draws + 10 ** uniform(-1, 0.3, *shape, generator=generator) * (noise @ densities.linear)
    center = draws.mean(1, keepdim=True)
    broadened = center + uniform(1, 2.5, *shape, generator=generator) * (draws - center)
    moved = torch.cat([noised[:, :n_noised], broadened[:, n_noised:]], 1)
    log_density, _ = densities.log_density_and_score(moved)
    return torch.where((log_density > -DEEPEST)[..., None], moved, draws)


def draw_components(components: Components[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """Draw points (B, count, D) from the mixture of each context, float64."""
    log_scale, means, factors, freedom = components
    shares = torch.softmax(log_scale - log_peak(factors, freedom), -1)
    which = torch.multinomial(shares, count, replacement=True, generator=generator)
    means, factors, freedom = (take_rows(field, which) for field in (means, factors, freedom))
    half = freedom / 2
    power = uniform(2**-54, 1, *half.shape, generator=generator) ** (1 / half)
    squares = 2 * power * gamma(half + 1, generator)  # chi-squared
    noise = normal(*means.shape, generator=generator)[..., None]
    offset = torch.linalg.solve_triangular(factors, noise, upper=False)[..., 0]
    return means + offset * (freedom / squares).sqrt()[..., None]


def _generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))
