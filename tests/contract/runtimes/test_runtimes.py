"""The files of the released model give its golden answers in every runtime that README names."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measure import CHAINS, README, RECORD, RUNTIMES, hashes, measure, table

TOLERANCE = 1e-5
QUICK = [name for name in RUNTIMES if name != "newest"]  # whose like is installed


@pytest.mark.parametrize("name", QUICK)
def test_golden_answers(
    name: str, complete_folder: Path, available: Callable[[Callable[[], Any]], Any]
) -> None:
    """The frame alone is tried in the installed runtime: discoformer.onnx has it inside."""
    runtime = RUNTIMES[name]
    if name != "onnxruntime":
        runtime = replace(runtime, chains=tuple(x for x in runtime.chains if not x.startswith("frame")))
    errors = available(lambda: measure(runtime, complete_folder))["errors"]
    assert CHAINS[0] in errors
    assert max(errors.values()) < TOLERANCE


def test_the_table_of_readme_is_the_record_of_these_files() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["files"] == hashes(), "the files have changed: python tests/contract/runtimes/measure.py"
    assert record["runtimes"].keys() == RUNTIMES.keys()
    assert table(record) in README.read_text(encoding="utf-8")
