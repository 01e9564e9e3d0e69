"""The proof on a GPU, with small cases on the CPU: each section measures, and a fault is a row."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import logsumexp, softmax

from benchmarks.common import report
from benchmarks.gpu import __main__ as proof
from benchmarks.gpu import speed
from benchmarks.gpu.files import Cases, Setting

MODEL = Path(__file__).parents[2] / "models" / "base"
SETTING = Setting(str(MODEL), "cpu", True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # about samples of few rows
@pytest.mark.parametrize("section", proof.SECTIONS)
def test_every_section(section: str) -> None:
    rows = list(proof.guarded(section, SETTING))
    assert rows
    for row in rows:
        assert row.figures
        assert row.passed is not False, row


def test_one_fault_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def section(setting: Setting) -> Cases:
        yield "one", lambda: (1 / 0, None)  # type: ignore[return-value]
        yield "two", lambda: ({"found": 2.0}, True)
        raise OSError(setting.model)

    monkeypatch.setitem(proof.SECTIONS, "machine", (section, 1))
    assert [(row.case, row.passed) for row in proof.guarded("machine", SETTING)] == [
        ("one", False),
        ("two", True),
        ("failed", False),
    ]


@pytest.mark.slow
def test_the_command_writes_its_table(tmp_path: Path) -> None:
    options = ["--model", str(MODEL), "--device", "cpu", "--small", "--only", "chunks"]
    done = CliRunner().invoke(proof.main, [*options, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (result,) = report.read(tmp_path / "gpu.json")
    assert result["section"] == "chunks"
    assert result["figures"]["a query, us"] > 0
    assert "| chunks | M = 256, D = 2, 300 landmarks | a run, ms" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
def test_a_device_that_is_not_there_is_a_row_and_an_exit_code() -> None:
    options = ["--model", str(MODEL), "--device", "cuda", "--small", "--only", "chunks"]
    done = CliRunner().invoke(proof.main, options)
    assert done.exit_code == 1
    assert "| chunks | failed | error DeviceError: device='cuda' is not available" in done.output


def test_the_kde_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 2)) * [1.0, 30.0], rng.normal(size=(5, 2)) * [1.0, 30.0]
    bandwidth = X.std(0, ddof=1) * len(X) ** (-1 / 6)
    logits = -0.5 * np.square((Y[:, None] - X) / bandwidth).sum(-1)
    log_density, score = speed.kde(X, Y, SETTING)
    np.testing.assert_allclose(log_density, logsumexp(logits, axis=1), atol=1e-5)
    pull = softmax(logits, axis=1) @ X - Y
    np.testing.assert_allclose(score, pull / bandwidth**2, rtol=1e-4, atol=1e-5)
