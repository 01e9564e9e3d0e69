"""docs/javascript.md has what was measured, with the released model."""

import hashlib
import json

from tests.js.measure import MODEL, PAGE, RECORD, tables


def test_the_page_has_the_record_of_this_model() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    found = hashlib.sha256((MODEL / "mixture.onnx").read_bytes()).hexdigest()
    assert record["model"] == found, "the model has changed: python -m tests.js.measure"
    assert tables(record) in PAGE.read_text(encoding="utf-8")


def test_the_record_keeps_what_is_promised() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert max(max(errors.values()) for errors in record["errors"].values()) < 1e-5
    assert max(record["differences"].values()) < 1e-4
    assert record["packed_bytes"] < 10_000_000
