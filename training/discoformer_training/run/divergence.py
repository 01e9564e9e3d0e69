"""Detection of divergence: training stops when the smoothed loss grows far beyond its least value."""

import math

from discoformer.errors import DiscoformerError

GROWTH = 5.0  # greatest ratio of the smoothed loss to its least value
SETTLED = 200  # losses before the least value is recorded: single tasks differ by orders of magnitude
OUTLIER = 10.0  # a single loss is clipped to this multiple of the smoothed loss
RATE = 0.02  # of the smoothing, per step


class TrainingDivergedError(DiscoformerError, RuntimeError):
    """The loss or its gradient is not finite, or has grown far beyond its least value."""


class DivergenceMonitor:
    """Smooths the loss, and raises an error when it diverges.

    One task may have any loss: gradients are clipped, so it does no harm. Many such tasks in a row are a
    divergence.
    """

    def __init__(self) -> None:
        self.smoothed = math.nan
        self.least = math.inf
        self.count = 0

    def update(self, loss: float, step: int) -> float:
        """Add the loss of a step, and return the smoothed loss.

        Raises:
            TrainingDivergedError: the smoothed loss is over GROWTH times its least value.
        """
        if math.isnan(self.smoothed):
            self.smoothed = loss
        self.smoothed += RATE * (min(loss, OUTLIER * self.smoothed) - self.smoothed)
        self.count += 1
        if self.count > SETTLED:
            self.least = min(self.least, self.smoothed)
        if self.smoothed > GROWTH * self.least:
            raise TrainingDivergedError(
                f"step {step}: the smoothed loss is {self.smoothed:.3g}, over {GROWTH} times its least value "
                f"{self.least:.3g}: continue from the last checkpoint with a lower learning rate"
            )
        return self.smoothed
