"""The speed benchmark: it times what it says, on a density that it knows."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import discoformer
from discoformer.cli import main
from discoformer.tools import bench
from discoformer.tools.bench_report import to_markdown

pytestmark = pytest.mark.slow

FAST = "discoformer, effort fast"  # of models that have a mixture network
NAMES = [
    "discoformer",
    FAST,
    "scikit-learn KernelDensity",
    "SciPy gaussian_kde.logpdf",
    "SciPy gaussian_kde.pdf",
    "PyTorch eager",
]


@pytest.fixture(scope="module")
def timings() -> list[bench.Timing]:
    model = discoformer.load("base", device="cpu", threads=1)
    return list(bench.measure(model, dims=(2, 3), sizes=(80,), repeats=1))


def test_the_truth_is_true() -> None:
    mixture = bench._Mixture.drawn(3, seed=0)
    y = mixture.sample(20, seed=1)
    log_density, score = mixture.log_density_and_score(y)
    each = [
        multivariate_normal(mean, factor @ factor.T).logpdf(y)
        for mean, factor in zip(mixture.means, mixture.factors, strict=True)
    ]
    np.testing.assert_allclose(log_density, logsumexp(each, axis=0) - np.log(5), atol=1e-10)
    for j, step in enumerate(1e-5 * np.eye(3)):
        ahead, behind = (mixture.log_density_and_score(y + sign * step)[0] for sign in (1, -1))
        np.testing.assert_allclose(score[:, j], (ahead - behind) / 2e-5, atol=1e-6)


def test_every_estimator_is_timed_at_every_size(timings: list[bench.Timing]) -> None:
    assert [(t.dim, t.n, t.estimator) for t in timings] == [
        (dim, 80, name) for dim in (2, 3) for name in NAMES
    ]
    assert all(t.fit_s > 0 and t.query_s > 0 for t in timings)
    ours = timings[0]
    assert ours.gflops is not None
    assert ours.matmul_gflops is not None
    assert 0 < ours.gflops < 2 * ours.matmul_gflops


def test_the_contenders_compute_what_they_are_said_to(timings: list[bench.Timing]) -> None:
    """PyTorch the same network, scikit-learn and SciPy the same KDE: their errors agree."""
    ours, _, sklearn, logpdf, pdf, eager = timings[:6]
    assert eager.density_error == pytest.approx(ours.density_error, rel=1e-4)
    assert eager.score_error == pytest.approx(ours.score_error, rel=1e-4)
    assert sklearn.density_error == pytest.approx(logpdf.density_error, rel=1e-6)
    assert pdf.density_error == pytest.approx(logpdf.density_error, rel=1e-6)
    assert ours.density_error < logpdf.density_error


def test_the_command_writes_table_figures_and_picture(tmp_path: Path) -> None:
    arguments = ["bench", "--dims", "1", "--sizes", "64", "--repeats", "1", "--threads", "1", "--out"]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "speed")])
    assert result.exit_code == 0, result.output
    table = (tmp_path / "speed" / "bench.md").read_text()
    assert table == result.stdout
    assert all(f"| 1, 64 | {name} |" in table for name in NAMES)
    assert len(json.loads((tmp_path / "speed" / "bench.json").read_text())) == len(NAMES)
    assert (tmp_path / "speed" / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("sizes", ["0", "a", "", "64,"])
def test_sizes_that_are_none(sizes: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--sizes", sizes])
    assert result.exit_code == 1
    assert "--sizes must be whole numbers of 1 or more" in result.stderr


def test_the_page_is_from_the_run_that_is_kept() -> None:
    root = Path(__file__).parents[3]
    kept = [bench.Timing(**t) for t in json.loads((root / "docs" / "speed" / "bench.json").read_text())]
    assert to_markdown(kept) == (root / "docs" / "speed" / "bench.md").read_text()
