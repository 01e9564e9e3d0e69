"""The files of the released model give its golden answers in every runtime that the site names."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from measure import FAR_FROM_ORIGIN, PAGE, RECORD, RUNTIMES, hashes, measure, table

TOLERANCE = 1e-5
FLOAT32_TOLERANCE = 1e-3  # of OpenVINO, which computes float64 in float32
QUICK = [name for name in RUNTIMES if name != "newest"]  # whose like is installed


@pytest.mark.parametrize("name", QUICK)
def test_golden_answers(name: str, available: Callable[[Callable[[], Any]], Any]) -> None:
    errors = available(lambda: measure(RUNTIMES[name]))["errors"]
    raw = errors.pop("discoformer.onnx")
    if name == "openvino":
        assert raw.pop(FAR_FROM_ORIGIN) < 10 * FLOAT32_TOLERANCE
        assert max(raw.values()) < FLOAT32_TOLERANCE
    else:
        assert max(raw.values()) < TOLERANCE
    assert max(error for cases in errors.values() for error in cases.values()) < TOLERANCE


def test_the_table_of_the_site_is_the_record_of_these_files() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["files"] == hashes(), "the files have changed: python tests/contract/runtimes/measure.py"
    assert record["runtimes"].keys() == RUNTIMES.keys()
    assert table(record) in PAGE.read_text(encoding="utf-8")
