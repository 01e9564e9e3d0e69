"""The programs of this folder can be imported by its tests, and what they lack is a reason to skip."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parent))

T = TypeVar("T")


@pytest.fixture(scope="session")
def complete_folder() -> Iterator[Path]:
    """The released model with core.onnx, which the repository does not keep."""
    from measure import complete_model

    with complete_model() as folder:
        yield folder


@pytest.fixture
def available() -> Callable[[Callable[[], T]], T]:
    """Calls a function; what is not installed skips the test, or fails it where nothing may be missing."""
    from measure import MissingError

    def call(function: Callable[[], T]) -> T:
        try:
            return function()
        except MissingError as error:
            if os.environ.get("DISCOFORMER_REQUIRE_RUNTIMES") == "1":
                pytest.fail(str(error))
            pytest.skip(str(error))

    return call
