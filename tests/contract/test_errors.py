"""Errors and warnings have the words of errors.json, which tests of the JavaScript package read too."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import discoformer

CASES = json.loads(Path(__file__).with_name("errors.json").read_text(encoding="utf-8"))
NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # JSON has none of them


def read(value: Any) -> Any:
    """Return JSON with the numbers that it has as text."""
    if isinstance(value, list):
        return [read(item) for item in value]
    if isinstance(value, dict):
        return {key: read(item) for key, item in value.items()}
    return NUMBERS.get(value, value) if isinstance(value, str) else value


def perform(case: dict[str, Any]) -> None:
    """Estimate, and then ask what the case asks."""
    p = discoformer.estimate(case["X"], **{"effort": "fast"} | case.get("options", {}))
    if "Y" in case:
        p.log_density(case["Y"])
    if "sample" in case:
        p.sample(**case["sample"])


@pytest.mark.filterwarnings("ignore::discoformer.DataWarning", "ignore::discoformer.RangeWarning")
@pytest.mark.parametrize("case", CASES["errors"], ids=lambda case: case["what"])
def test_errors(case: dict[str, Any]) -> None:
    with pytest.raises(getattr(discoformer, case["error"])) as caught:
        perform(read(case))
    assert str(caught.value) == case["message"] + case.get("ending", {}).get("python", "")
    assert type(caught.value).__name__ == case["error"]


@pytest.mark.parametrize("case", CASES["warnings"], ids=lambda case: case["what"])
def test_warnings(case: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        perform(read(case))
    assert [[warning.category.__name__, str(warning.message)] for warning in told] == case["warnings"]
