"""The start of a run of heads, shared by the tests of runs."""

from collections.abc import Callable
from functools import partial

import pytest

from discoformer_training.run.checkpoint import Progress
from discoformer_training.run.loop import train


@pytest.fixture
def start(mixture_file) -> Callable[..., Progress]:
    """Start a run of heads on the small mixture network. A run that continues has it in its checkpoint."""
    return partial(train, mixture_from=mixture_file)
