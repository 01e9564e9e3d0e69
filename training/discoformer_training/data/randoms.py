"""Random numbers from a generator, in float64, on its device."""

import torch
from torch import Tensor


def uniform(low: float, high: float, *shape: int, generator: torch.Generator) -> Tensor:
    """Draw uniformly from [low, high)."""
    draw = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return low + (high - low) * draw


def log_uniform(low: float, high: float, *shape: int, generator: torch.Generator) -> Tensor:
    """Draw positive numbers from [low, high) with a uniform logarithm."""
    return low * (high / low) ** uniform(0, 1, *shape, generator=generator)


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64)


def exponential(*shape: int, generator: torch.Generator) -> Tensor:
    """Draw exponential numbers of mean 1, never 0."""
    return -torch.log1p(-uniform(2**-54, 1, *shape, generator=generator))


def gamma(shape_parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Draw gamma numbers of scale 1, one for each shape parameter, which must be at least 1.

    The method is rejection from cubes of normal numbers (Marsaglia and Tsang, *ACM Transactions on
    Mathematical Software* 26, 2000). It accepts at least 95 % of the proposals.
    """
    d = shape_parameter - 1 / 3
    found = torch.zeros_like(d)
    while (missing := found == 0).any():
        z = normal(*d.shape, generator=generator)
        cube = (1 + z / (9 * d).sqrt()) ** 3
        bound = z.square() / 2 + d - d * cube + d * cube.clamp(min=1e-300).log()
        taken = (cube > 0) & (-exponential(*d.shape, generator=generator) < bound)
        found = torch.where(missing & taken, d * cube, found)
    return found


def choice(count: int, generator: torch.Generator) -> int:
    """Draw an integer from 0 to count - 1."""
    return int(torch.randint(count, (), generator=generator, device=generator.device))
