"""The JavaScript package, with what its tests need installed."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.contract.runtimes.measure import MissingError, npm_ci

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "js"


@pytest.fixture(scope="session")
def package() -> Path:
    """The folder of the package, with what its tests need."""
    try:
        npm_ci(PACKAGE)
    except MissingError as error:
        missing(error)
    return PACKAGE


def missing(error: MissingError) -> NoReturn:
    """Skip a test, or fail it if DISCOFORMER_REQUIRE_RUNTIMES is 1."""
    if os.environ.get("DISCOFORMER_REQUIRE_RUNTIMES") == "1":
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def run(package: Path) -> Callable[..., str]:
    """Runs a command in the folder of the package; an exit code other than 0 fails the test."""

    def run(*command: str | Path, folder: Path = package, text: str | None = None) -> str:
        done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
