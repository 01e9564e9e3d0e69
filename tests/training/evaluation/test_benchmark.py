"""Draws, the cache of baselines, pooled rows and their rendering."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from discoformer_training.data.mixtures import draw_mixtures
from discoformer_training.evaluation import benchmark
from discoformer_training.evaluation.baselines import BASELINES, Baseline
from discoformer_training.evaluation.benchmark import Report, Row, run_benchmark
from discoformer_training.evaluation.cells import (
    FAMILIES,
    BenchmarkError,
    Cell,
    default_cells,
    draw,
    small_cells,
    tables_cells,
    wide_cells,
)
from discoformer_training.evaluation.floor import FLOORS, Components, Floor
from discoformer_training.evaluation.metrics import FloatArray, Values
from discoformer_training.evaluation.report import render_json, render_markdown, render_summary, render_text

pytestmark = pytest.mark.slow

CELLS = [Cell("gmm", 2, 64, queries=16), Cell("gmm", 3, 64, modes=(2, 2), queries=16)]


def zero(_context: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.zeros(len(queries)), np.zeros_like(queries)


def perfect(_context: FloatArray, _queries: FloatArray, truth: Values) -> Values:
    return truth


def unreachable(_context: FloatArray, _queries: FloatArray, _truth: Values) -> Values:
    raise AssertionError("a cached baseline was computed again")


def below(_context: FloatArray, queries: FloatArray, _components: Components) -> Values:
    raise AssertionError("a cached floor was computed again")


class Bare:
    """A density that does not say what it is a mixture of."""

    def __init__(self, cell: Cell, generator: torch.Generator) -> None:
        self.mixture = draw_mixtures(1, cell.dim, modes=cell.modes, generator=generator)

    def sample(self, n: int, *, generator: torch.Generator) -> torch.Tensor:
        return self.mixture.sample(n, generator=generator)

    def log_density_and_score(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mixture.log_density_and_score(points)


def run(cache: Path | None = None, draws: int = 3, cells: list[Cell] = CELLS) -> Report:
    return run_benchmark({"zero": zero}, cells, draws=draws, cache=cache)


def test_draws_repeat() -> None:
    first, second = draw(CELLS[0], 5), draw(CELLS[0], 5)
    assert first.context.shape == (64, 2)
    assert first.queries.shape == (16, 2)
    np.testing.assert_array_equal(first.context, second.context)
    np.testing.assert_array_equal(first.truth.score, second.truth.score)


def test_draws_differ_by_seed_cell_and_index() -> None:
    cell = CELLS[0]
    others = [Cell("gmm", 2, 65, queries=16), Cell("gmm", 2, 64, modes=(1, 9), queries=16)]
    queries = [draw(cell, 0), draw(cell, 1), draw(cell, 0, seed=1), *(draw(other, 0) for other in others)]
    assert len({at.queries.tobytes() for at in queries}) == 5


def test_queries_are_not_of_the_context() -> None:
    at = draw(CELLS[0], 0)
    assert not set(map(tuple, at.context)) & set(map(tuple, at.queries))


def test_truth_is_the_gradient() -> None:
    at = draw(Cell("gmm", 1, 64, queries=4096), 0)
    order = np.argsort(at.queries[:, 0])
    x, log_density, score = at.queries[order, 0], at.truth.log_density[order], at.truth.score[order, 0]
    slope = np.gradient(log_density, x)
    assert np.median(np.abs(slope - score)) < 1e-3


@pytest.mark.parametrize("cell", [CELLS[0], Cell("gmm", 1, 64), Cell("gmm", 7, 64, modes=(3, 3))])
def test_components_give_the_true_log_density(cell: Cell) -> None:
    at = draw(cell, 0)
    assert at.components is not None
    columns = zip(at.components.weights, at.components.means, at.components.covariances, strict=True)
    density = np.sum([w * multivariate_normal(m, c).pdf(at.queries) for w, m, c in columns], axis=0)
    np.testing.assert_allclose(np.log(density), at.truth.log_density, rtol=1e-9)
    assert cell.modes[0] <= len(at.components.weights) <= cell.modes[1]


def test_floor_sees_the_components_and_not_the_truth() -> None:
    seen: list[tuple[object, ...]] = []

    def spy(*shown: FloatArray | Components) -> Values:
        seen.append(shown)
        return Values(np.zeros(16), np.zeros((16, 2)))

    run_benchmark({}, CELLS[:1], draws=1, baselines={}, floors={"spy": spy})
    ((context, queries, components),) = seen
    at = draw(CELLS[0], 0)
    np.testing.assert_array_equal(context, at.context)
    np.testing.assert_array_equal(queries, at.queries)
    assert isinstance(components, Components)


def test_family_without_components_has_no_floor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(FAMILIES, "bare", Bare)
    cells, cache = [CELLS[0], Cell("bare", 2, 64, queries=16)], tmp_path / "cache.json"
    report = run_benchmark({}, cells, draws=2, baselines={"truth": perfect}, cache=cache)
    assert [(row.cell, row.name) for row in report.rows] == [
        (cells[0], "truth"),
        (cells[0], "floor"),
        (cells[1], "truth"),
    ]
    assert run_benchmark({}, cells, draws=2, baselines={"truth": perfect}, cache=cache) == report
    assert render_summary(report).splitlines()[-1] == "| bare 2, 64 |  |"
    assert cache.read_text().count('"floor"') == 1


def test_zero_and_perfect_predictors() -> None:
    report = run_benchmark({"zero": zero}, CELLS[:1], draws=4, baselines={"truth": perfect}, floors={})
    zero_row, perfect_row = report.rows
    assert zero_row.score_percent == pytest.approx((100.0, 0.0))
    assert perfect_row.score_percent == (0.0, 0.0)
    assert perfect_row.log_density_mse == (0.0, 0.0)


def test_rows_pool_over_draws() -> None:
    """The zero predictor's errors are the truth's own squares."""
    row = run().rows[0]
    truths = [draw(CELLS[0], index).truth for index in range(3)]
    assert row.score_mse.value == pytest.approx(np.mean([truth.score**2 for truth in truths]), rel=1e-5)
    square = np.mean([truth.log_density**2 for truth in truths])
    assert row.log_density_mse.value == pytest.approx(square, rel=1e-5)


def test_ratios_are_of_pooled_errors() -> None:
    rows = {row.name: row for row in run(cells=CELLS[:1]).rows}
    expected = rows["zero"].score_mse.value / rows["kde_best"].score_mse.value
    assert rows["zero"].score_ratios["kde_best"].value == pytest.approx(expected)
    assert rows["kde_best"].score_ratios["kde_best"] == (1.0, 0.0)


def test_resumed_cache_equals_straight(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight.json", tmp_path / "resumed.json"
    report = run(straight)
    run(resumed, cells=CELLS[:1], draws=2)
    assert run(resumed) == report
    assert sorted(resumed.read_text().splitlines()) == sorted(straight.read_text().splitlines())


def test_interruption_keeps_finished_cells(tmp_path: Path) -> None:
    def interrupt(context: FloatArray, queries: FloatArray, truth: Values) -> Values:
        if context.shape[1] == 3:
            raise KeyboardInterrupt
        return truth

    cache = tmp_path / "cache.json"
    with pytest.raises(KeyboardInterrupt):
        run_benchmark({}, CELLS, draws=2, baselines={"interrupted": interrupt}, floors={}, cache=cache)
    (entry,) = json.loads(cache.read_text())["entries"]
    assert (entry["dim"], entry["score_error"]) == (2, [0.0, 0.0])


def test_cache_spares_the_baselines(tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    report = run(cache)
    never: dict[str, Baseline] = dict.fromkeys(BASELINES, unreachable)
    floors: dict[str, Floor] = dict.fromkeys(FLOORS, below)
    again = run_benchmark({"zero": zero}, CELLS, draws=3, baselines=never, floors=floors, cache=cache)
    assert again == report
    fewer = run_benchmark({"zero": zero}, CELLS, draws=2, baselines=never, floors=floors, cache=cache)
    assert fewer == run(draws=2)


def test_cache_without_floors_gets_them_and_keeps_its_lines(tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    old = run_benchmark({}, CELLS, draws=2, floors={}, cache=cache)
    lines = [line.rstrip(",") for line in cache.read_text().splitlines()[1:-1]]
    never: dict[str, Baseline] = dict.fromkeys(BASELINES, unreachable)
    new = run_benchmark({}, CELLS, draws=2, baselines=never, cache=cache)
    assert [line.rstrip(",") for line in cache.read_text().splitlines()[1 : 1 + len(lines)]] == lines
    assert [row for row in new.rows if row.name != "floor"] == old.rows
    assert len(new.rows) == len(old.rows) + len(CELLS)


def test_tampered_cache_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    run(cache)
    stored = json.loads(cache.read_text())
    stored["entries"][0]["score_power"][1] *= 1.001
    cache.write_text(json.dumps(stored))
    with pytest.raises(BenchmarkError, match="cached draw 1 of kde_scott"):
        run(cache)


def test_cache_of_another_protocol_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    cache.write_text('{"protocol": 0, "entries": []}')
    with pytest.raises(BenchmarkError, match="protocol 0, needed 1: delete it"):
        run(cache)


@pytest.mark.parametrize(("family", "dim"), [("cauchy", 2), ("gmm", 0), ("gmm", 64), ("ring", 1)])
def test_impossible_cell_is_refused(family: str, dim: int) -> None:
    with pytest.raises(BenchmarkError, match="needed"):
        Cell(family, dim, 64)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="draws is 0"):
        run(draws=0)
    with pytest.raises(ValueError, match="gmm_bic"):
        run_benchmark({"gmm_bic": zero}, CELLS)
    with pytest.raises(ValueError, match="floor"):
        run_benchmark({"floor": zero}, CELLS)


def test_default_cells() -> None:
    cells = default_cells()
    assert len(cells) == len(set(cells)) == 21
    assert Cell("gmm", 100, 2048, modes=(2, 2)) in cells


def test_wide_cells_are_drawn_once_and_for_all_and_have_no_floor() -> None:
    cells = wide_cells()
    assert len(cells) == len(set(cells)) == 10
    for cell in cells:
        at, again = draw(cell, 3), draw(cell, 3)
        np.testing.assert_array_equal(at.queries, again.queries)
        assert at.context.shape == (1024, cell.dim)
        assert at.components is None
        assert np.isfinite(at.truth.log_density).all()
        assert str(cell) == f"{cell.family} D={cell.dim} N=1024"


def test_tables_cells_are_drawn_once_and_for_all_and_all_have_scores() -> None:
    cells = tables_cells()
    assert len(cells) == len(set(cells)) == 12
    for cell in cells:
        at, again = draw(cell, 1), draw(cell, 1)
        np.testing.assert_array_equal(at.queries, again.queries)
        assert at.context.shape == (1024, cell.dim)
        assert 2 <= cell.dim <= 20
        assert np.isfinite(at.truth.log_density).all()
        assert np.square(at.truth.score).sum() > 0
        assert at.components is None


def test_two_widths_are_one_and_a_thousandth() -> None:
    """Half of the queries lie in each cluster, where the score has the size of 1 / width."""
    for dim in (2, 5):
        size = np.linalg.norm(draw(Cell("two_widths", dim, 1024), 0).truth.score, axis=1)
        narrow = size > 30 * dim
        assert 0.4 < narrow.mean() < 0.6
        np.testing.assert_allclose(np.mean(size[narrow] ** 2), 1e6 * dim, rtol=0.2)
        np.testing.assert_allclose(np.mean(size[~narrow] ** 2), dim, rtol=0.2)


def test_small_cells_are_measured_by_every_baseline() -> None:
    cells = small_cells()
    assert len(cells) == len(set(cells)) == 7
    assert max(cell.context_size for cell in cells) < 32
    report = run_benchmark({}, [min(cells, key=lambda cell: cell.context_size)], draws=2)
    assert all(np.isfinite(row.score_percent.value) for row in report.rows)


def test_laplace_scores_have_the_size_of_the_dimension() -> None:
    """So that squared errors compare with those published for it: every coordinate's is -1 or 1."""
    truth = draw(Cell("laplace", 5, 64), 0).truth
    np.testing.assert_allclose(np.square(truth.score).sum(1), 5)


def test_student3_has_three_degrees_of_freedom() -> None:
    """By the slope of log f in log |x| far out, -(3 + D), after the affine map is undone."""
    generator = torch.Generator().manual_seed(0)
    density = FAMILIES["student3"](Cell("student3", 2, 64), generator)
    far = 1e6 * torch.randn(1, 20, 2, generator=generator, dtype=torch.float64)
    _, score = density.log_density_and_score(far)
    np.testing.assert_allclose((score * far).sum(-1), -5, atol=1e-3)


def test_long_contexts_get_a_quarter_of_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "LONG", 65)
    cells = [CELLS[0], Cell("gmm", 2, 65, queries=16)]
    report = run_benchmark({"zero": zero}, cells, draws=8, baselines={}, floors={})
    assert [row.draws for row in report.rows] == [8, 2]
    assert run_benchmark({"zero": zero}, cells, draws=3, baselines={}, floors={}).rows[1].draws == 1


def test_every_finished_cell_is_kept() -> None:
    kept: list[list[Row]] = []
    report = run_benchmark(
        {"zero": zero},
        CELLS,
        draws=2,
        baselines={},
        floors={},
        keep=lambda so_far: kept.append([*so_far.rows]),
    )
    assert kept == [report.rows[:1], report.rows]


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_rendering_shows_every_row_and_the_seed(render: Callable[[Report], str]) -> None:
    report = run()
    text = render(report)
    assert "seed 0, 3 draws" in text
    assert "100 ± " in text
    assert "floor: EM started from the true components" in text
    for row in report.rows:
        label = f"gmm D={row.cell.dim} N=64"
        assert any(label in line and row.name in line for line in text.splitlines())


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_the_last_lines_are_geometric_means_of_the_ratios(render: Callable[[Report], str]) -> None:
    report = run()
    line = next(line for line in render(report).splitlines() if "2 cells" in line and "zero" in line)
    one, other = (row for row in report.rows if row.name == "zero")
    for name in ("kde_best", "gmm_bic"):
        for ratios in ("score_ratios", "log_density_ratios"):
            product = getattr(one, ratios)[name].value * getattr(other, ratios)[name].value
            assert f"{product**0.5:.3g}" in line
    assert "geometric mean" not in render(run(cells=CELLS[:1]))


def test_the_summary_has_one_line_per_cell_with_the_main_estimators() -> None:
    report = run_benchmark({"discoformer": zero}, CELLS, draws=2)
    header, _, *lines = render_summary(report).splitlines()
    assert header.startswith("| D, N | **DiScoFormer** | best KDE | ")
    assert [line.split(" | ")[0] for line in lines] == ["| 2, 64", "| 3, 64 (2 modes)"]
    for row in report.rows:
        if row.name == "kde_best_whitened":
            continue
        (line,) = (line for line in lines if line.startswith(f"| {row.cell.dim}, "))
        assert f"{row.score_percent.value:.3g} % / {row.log_density_mse.value:.3g}" in line
        assert line.count(" | ") == header.count(" | ")


def test_json_is_strict_and_complete() -> None:
    def broken(_context: FloatArray, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.full(len(queries), np.nan), np.zeros_like(queries)

    report = run_benchmark({"broken": broken}, CELLS[:1], draws=2)
    rows = json.loads(render_json(report))["rows"]
    assert rows[0]["cell"] == {"family": "gmm", "dim": 2, "context_size": 64, "modes": [1, 10], "queries": 16}
    assert rows[0]["log_density_mse"] == {"value": None, "error": None}
    assert rows[0]["score_percent"]["value"] == 100.0
    assert set(rows[0]["score_ratios"]) == {"kde_best", "gmm_bic"}
