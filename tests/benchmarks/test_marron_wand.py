"""The densities of Marron and Wand, the bandwidth of Sheather and Jones, and the command."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.integrate import trapezoid
from scipy.stats import kstest, norm

from benchmarks.accuracy import marron_wand
from benchmarks.common import report
from benchmarks.common.sheather_jones import improved_sheather_jones

MODEL = Path(__file__).parents[2] / "models" / "base"
GRID = np.linspace(-6, 6, 240_001)
MODES = dict(zip(marron_wand.DENSITIES, [1, 1, 1, 1, 1, 2, 2, 2, 3, 5, 7, 5, 6, 6, 6], strict=True))


@pytest.mark.parametrize("name", marron_wand.DENSITIES)
def test_the_densities(name: str) -> None:
    density = marron_wand.DENSITIES[name]
    log_density, score = density.truth(GRID[:, None])
    values = np.exp(log_density)
    assert density.weights.sum() == pytest.approx(1)
    assert trapezoid(values, GRID) == pytest.approx(1, abs=1e-5)
    slope = np.gradient(log_density, GRID)
    np.testing.assert_allclose(score[1:-1, 0], slope[1:-1], atol=0.05)
    assert np.sum((values[1:-1] > values[:-2]) & (values[1:-1] > values[2:])) == MODES[name]
    sample = density.draw(4000, np.random.default_rng(0))[:, 0]
    assert kstest(sample, lambda x: norm.cdf(x[:, None], *density[1:]) @ density.weights).pvalue > 1e-3


@pytest.mark.parametrize("name", ["Gaussian", "skewed", "kurtotic", "separated bimodal", "trimodal", "claw"])
def test_the_bandwidth_is_the_asymptotically_best_one(name: str) -> None:
    density, n = marron_wand.DENSITIES[name], 2**15
    values = np.exp(density.truth(GRID[:, None]).log_density)
    curvature = trapezoid(np.gradient(np.gradient(values, GRID), GRID) ** 2, GRID)
    best = (1 / (2 * np.sqrt(np.pi) * n * curvature)) ** 0.2
    sample = density.draw(n, np.random.default_rng(1))[:, 0]
    found = improved_sheather_jones(sample)
    assert found == pytest.approx(best, rel=0.08)
    assert improved_sheather_jones(5 - 1e3 * sample) == pytest.approx(1e3 * found, rel=1e-2)


def test_the_command(tmp_path: Path) -> None:
    options = ["--size", "64", "--draws", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(marron_wand.main, [str(MODEL), *options])
    assert done.exit_code == 0, done.output
    path = tmp_path / "base_marron_wand.json"
    results = [marron_wand.Result(**result) for result in report.read(path)]
    assert len(results) == 15 * 2 * len(marron_wand.METHODS)
    assert (tmp_path / "base_marron_wand.md").read_text(encoding="utf-8") in done.output
    of_gaussian = {
        method: [r for r in results if (r.density, r.method) == ("Gaussian", method)]
        for method in marron_wand.METHODS
    }
    assert (
        marron_wand.errors(of_gaussian["best"])[0] < marron_wand.errors(of_gaussian["leave-one-out KDE"])[0]
    )
    before = path.read_bytes()
    again = CliRunner().invoke(marron_wand.main, [str(MODEL), *options])
    assert path.read_bytes() == before
    assert (tmp_path / "base_marron_wand.md").read_text(encoding="utf-8") in again.output


def test_ratios_are_to_the_best_peer_of_each_density() -> None:
    def result(density: str, method: str, error: float) -> marron_wand.Result:
        return marron_wand.Result(density, 64, 0, method, error, 1.0, 2 * error, 0.0)

    found = marron_wand.ratios(
        [
            *(result("a", method, error) for method, error in [("best", 2), ("ISJ", 1), ("EM, BIC", 8)]),
            *(result("b", method, error) for method, error in [("best", 2), ("ISJ", 16), ("EM, BIC", 4)]),
        ]
    )
    first, isj, em = found.splitlines()[2:]
    assert first == "| 64, best | the best of them | 1.000, at most 2.00 | 1.000, at most 2.00 |"
    assert isj == "| 64, best | ISJ | 0.500, at most 2.00 | 0.500, at most 2.00 |"
    assert em == "| 64, best | EM, BIC | 0.354, at most 0.50 | 0.354, at most 0.50 |"
