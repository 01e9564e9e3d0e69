"""Contexts with queries, shared by the tests of the network."""

import pytest
from torch import Tensor

from discoformer_training.data.context import Context


@pytest.fixture(scope="session")
def setting(make_data, read_context):
    """Make a context in its frame, and queries there."""

    def make(batch: int, n: int, m: int, dim: int, *, seed: int = 0) -> tuple[Context, Tensor]:
        context, frame = read_context(make_data(batch, n + m, dim, seed=seed)[:, :n])
        return context, 1.3 * frame.to_frame(make_data(batch, n + m, dim, seed=seed)[:, n:])

    return make
