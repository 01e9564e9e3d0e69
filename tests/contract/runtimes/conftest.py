"""The programs of this folder can be imported by its tests, and what they lack is a reason to skip."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parent))

T = TypeVar("T")


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
