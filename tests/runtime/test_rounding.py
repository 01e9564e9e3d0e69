"""Estimates from rounded values and atoms: right, and alike in every analysis, entry point and file."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from scipy.stats import norm

import discoformer
from discoformer.analysis.held_out import fit_folds
from discoformer.anomalies import Reference, find_anomalies
from discoformer.cli import main
from discoformer.information import entropy, mutual_information
from discoformer.io.inputs import Floats
from discoformer.onnx.names import Effort
from discoformer.scipy import DensityEstimate
from discoformer.sklearn import AnomalyDetector, DensityClusterer, DensityEstimator, DensityImputer

IRIS = Path(__file__).parents[1] / "data" / "iris_petals.csv"
EFFORTS: tuple[Effort, ...] = ("fast", "best")


@pytest.fixture(scope="module")
def base() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


@pytest.fixture
def iris() -> pd.DataFrame:
    return pd.read_csv(IRIS)


@pytest.fixture
def rain(rng: np.random.Generator) -> Floats:
    """Three in ten zeros, and another column that depends on them."""
    amount = np.where(rng.random(300) < 0.3, 0, rng.gamma(2, 3, 300))
    return np.column_stack([amount, np.sqrt(amount) + rng.normal(size=300)])


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(main, [command, *map(str, arguments), "--device", "cpu", "--threads", "1"])


# The density


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_rounded_column_has_no_comb(effort: str) -> None:
    result = run("estimate", IRIS, "--columns", "petal_width_cm", "--grid", "--effort", effort)
    assert result.exit_code == 0
    rows = [*csv.DictReader(io.StringIO(result.stdout))]
    x, density, score = (
        np.array([float(row[name]) for row in rows])
        for name in ("petal_width_cm", "density", "score_petal_width_cm")
    )
    assert np.trapezoid(density, x) == pytest.approx(1, abs=0.03)
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:]))
    assert len(peaks) <= 3
    assert np.abs(np.diff(np.log(density[density > 0.01]))).max() < 0.2
    assert np.abs(score[density > 0.01]).max() < 30
    assert "petal_width_cm 0.1" in result.stderr


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_mutual_information_of_rounded_columns(iris: pd.DataFrame, effort: Effort) -> None:
    found = mutual_information(iris[["petal_length_cm"]], iris[["petal_width_cm"]], effort=effort)
    assert 1.1 < found.value < 1.3


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_rounded_normal_is_that_normal_convolved_with_the_cell(
    base: discoformer.Model, effort: Effort
) -> None:
    x = norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
    y = np.linspace(-1.75, 1.75, 71)[:, None]
    expected = 2 * (norm.cdf(y + 0.25) - norm.cdf(y - 0.25))[:, 0]
    found = base.estimate((2 * x).round() / 2, effort=effort).density(y)
    np.testing.assert_allclose(found, expected, rtol=0.05)


def test_the_estimate_is_that_of_the_spread_rows(kde: discoformer.Model, iris: pd.DataFrame) -> None:
    p = kde.estimate(iris)
    assert p.diagnostics.copies == 3
    assert p.diagnostics.effective_size == pytest.approx(150)
    assert p.diagnostics.n == len(p.data.points) == 150
    x = iris.to_numpy()
    np.testing.assert_array_equal(p.data.points, x[np.lexsort(x.T[::-1])])
    assert len(p.spread.points) == len(p.z) == 450
    same = kde.estimate(p.spread.points, effective_size=150, rounding=None)
    y = p.spread.points[::7] + 0.1
    np.testing.assert_allclose(p.log_density(y), same.log_density(y), atol=1e-5)


@pytest.mark.parametrize("width", [np.float32, np.float64])
def test_continuous_data_are_answered_bit_by_bit_as_they_are(
    kde: discoformer.Model, rng: np.random.Generator, width: type
) -> None:
    x = (1000 + rng.standard_t(3, size=(300, 3))).astype(width)
    p, as_it_is = kde.estimate(x), kde.estimate(x, rounding=None)
    assert p.spread is p.data
    assert p.diagnostics == as_it_is.diagnostics
    assert p.diagnostics.steps == (0, 0, 0)
    for ours, theirs in zip(p.log_density_and_score(x), as_it_is.log_density_and_score(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("effort", EFFORTS)
def test_symmetries(base: discoformer.Model, rng: np.random.Generator, effort: Effort) -> None:
    x = np.column_stack([rng.normal(size=200).round(1), rng.poisson(4, 200), rng.gamma(2, size=200)])
    y, columns, scales = x[:20] + 0.3, [2, 0, 1], np.array([4, 0.125, 1024])
    p = base.estimate(x, effort=effort)
    q = base.estimate(((x * scales + 64)[rng.permutation(200)])[:, columns], effort=effort)
    assert q.diagnostics.steps == pytest.approx((0, 0.4, 0.125))
    log_density, score = p.log_density_and_score(y)
    moved, turned = q.log_density_and_score((y * scales + 64)[:, columns])
    np.testing.assert_allclose(moved + np.log(scales).sum(), log_density, atol=2e-4)
    np.testing.assert_allclose(turned * scales[columns], score[:, columns], rtol=1e-3, atol=2e-3)


def test_weights_and_sizes(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    """The Gaussian fit shows both: cells add step^2 / 12 to the variance, weights are those of the rows."""
    x, w = rng.poisson(50, (400, 1)).astype(float), rng.random(400)
    p = gaussian.estimate(x, w)
    assert p.diagnostics.effective_size == pytest.approx(w.sum() ** 2 / (w**2).sum())
    mean = np.average(x[:, 0], weights=w)
    spread = np.sqrt(np.average((x[:, 0] - mean) ** 2, weights=w) + 1 / 12)
    y = np.linspace(30, 70, 9)[:, None]
    np.testing.assert_allclose(p.log_density(y), norm(mean, spread).logpdf(y[:, 0]), atol=1e-3)
    assert gaussian.estimate(x, effective_size=20).diagnostics.effective_size == 20


def test_a_batch_is_read_as_each_alone(kde: discoformer.Model, iris: pd.DataFrame, rain: Floats) -> None:
    contexts = [iris, rain, iris[:40]]
    for p, x in zip(kde.estimate_batch(contexts), contexts, strict=True):
        alone = kde.estimate(x)
        assert p.diagnostics == alone.diagnostics
        np.testing.assert_allclose(p.log_density(rain), alone.log_density(rain), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.* rows of X repeat others:discoformer.DataWarning")
def test_steps_that_are_given(kde: discoformer.Model, iris: pd.DataFrame) -> None:
    assert kde.estimate(iris, rounding=None).diagnostics.steps == (0, 0)
    assert kde.estimate(iris, rounding={"petal_width_cm": 0.5}).diagnostics.steps == (pytest.approx(0.1), 0.5)
    assert kde.estimate(iris.to_numpy(), rounding={0: 0}).diagnostics.steps == (0, pytest.approx(0.1))
    with pytest.raises(
        discoformer.InputError, match="rounding must be positions from 0 to 1, or names among"
    ):
        kde.estimate(iris, rounding={"width": 1})
    with pytest.raises(discoformer.InputError, match=r"contexts\[0\]: rounding must be 'auto'"):
        kde.estimate_batch([iris], rounding="none")  # type: ignore[arg-type]


# Atoms


def test_rows_at_an_atom_of_one_column_are_set_apart(kde: discoformer.Model, rain: Floats) -> None:
    x = rain[:, :1]
    p, q = kde.estimate(x), kde.estimate(x[x > 0][:, None])
    y = np.linspace(-1, 20, 50)[:, None]
    np.testing.assert_array_equal(p.log_density(y), q.log_density(y))
    assert p.diagnostics.atoms == (((0, pytest.approx(np.mean(x == 0))),),)
    assert p.diagnostics.effective_size == pytest.approx((x > 0).sum())
    assert p.diagnostics.n == len(p.data.points) == 300
    (doubt,) = p.diagnostics.warnings
    assert "of X has the value 0 in column 0, which is an atom: it has a probability and no density" in doubt
    sized = kde.estimate(x, effective_size=100)
    assert sized.diagnostics.effective_size == pytest.approx(100 * np.mean(x > 0))


def test_rows_at_an_atom_of_a_table_are_spread(kde: discoformer.Model, rain: Floats) -> None:
    p = kde.estimate(pd.DataFrame(rain, columns=["rain", "wind"]))
    assert len(p.spread.points) == 300
    (width, none) = p.diagnostics.atom_widths
    assert none == 0
    moved = p.spread.points[:, 0] - p.data.points[:, 0]
    np.testing.assert_array_equal(moved != 0, p.data.points[:, 0] == 0)
    assert 0.45 * width < np.abs(moved).max() < 0.5 * width
    np.testing.assert_array_equal(p.spread.points[:, 1], p.data.points[:, 1])
    (doubt,) = p.diagnostics.warnings
    assert f"these rows are spread over a cell of width {width:.3g}" in doubt
    assert "column 0 ('rain')" in doubt


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_probability_of_an_atom(
    base: discoformer.Model, rng: np.random.Generator, effort: Effort
) -> None:
    """The integral over its cell, at the values of the other column where it is common."""
    dry = rng.random(2000) < 0.4
    x = np.column_stack([np.where(dry, 0, 4 + rng.normal(size=2000)), rng.normal(size=2000) + 2 * dry])
    p = base.estimate(x, effort=effort)
    y = np.linspace(1, 3, 9)
    width = p.diagnostics.atom_widths[0]
    cell = np.array([[[u * width, v] for u in np.linspace(-1, 1, 81)] for v in y])
    found = p.density(cell.reshape(-1, 2)).reshape(9, -1).mean(axis=1) * 2 * width
    np.testing.assert_allclose(found, 0.4 * norm.pdf(y - 2), rtol=0.25)


# Analyses that read the columns again


def test_a_marginal_is_spread_once(gaussian: discoformer.Model, iris: pd.DataFrame) -> None:
    p = gaussian.estimate(iris)
    marginal, alone = p.marginal("petal_width_cm"), gaussian.estimate(iris[["petal_width_cm"]])
    y = np.linspace(0, 3, 20)[:, None]
    np.testing.assert_allclose(marginal.log_density(y), alone.log_density(y), atol=1e-5)
    assert marginal.diagnostics == alone.diagnostics
    np.testing.assert_array_equal(marginal.data.points, alone.data.points)
    expected = norm(p.spread.points[:, 1].mean(), p.spread.points[:, 1].std()).logpdf(y[:, 0])
    np.testing.assert_allclose(marginal.log_density(y), expected, atol=1e-3)


@pytest.mark.parametrize("method", ["refit", "mixture"])
def test_the_marginal_of_a_table_with_atoms_holds_them(
    mixture: discoformer.Model, rain: Floats, method: str
) -> None:
    p = mixture.estimate(rain, effort="fast")
    marginal = p.marginal(0, method=method)  # type: ignore[arg-type]
    assert marginal.diagnostics.atoms == p.diagnostics.atoms[:1]
    assert marginal.diagnostics.atom_widths == p.diagnostics.atom_widths[:1]
    assert marginal.spread.points[:, 0] == pytest.approx(marginal.data.points[:, 0], abs=1)
    assert len(marginal.spread.points) == 300
    assert not p.marginal(1).cells.atoms[0]
    apart = mixture.estimate(rain[:, :1], effort="fast").marginal(0, method=method)  # type: ignore[arg-type]
    assert apart.diagnostics.effective_size == pytest.approx((rain[:, 0] > 0).sum())


def test_the_copies_of_a_row_are_in_one_fold(kde: discoformer.Model, iris: pd.DataFrame) -> None:
    p = kde.estimate(iris)
    for test, found in fit_folds(p, 0):
        of_rows = test.reshape(150, 3)
        assert (of_rows == of_rows[:, :1]).all()
        assert found.diagnostics.effective_size == pytest.approx(120)


@pytest.mark.slow
@pytest.mark.parametrize("effort", EFFORTS)
def test_estimate_and_diagnose_agree(
    base: discoformer.Model, iris: pd.DataFrame, rain: Floats, effort: Effort
) -> None:
    p = base.estimate(iris, effort=effort)
    found = p.diagnose()
    assert not p.diagnostics.warnings
    levels = {finding.name: finding.level for finding in found.findings}
    assert "bad" not in levels.values()
    assert levels["repeated rows"] == levels["few-valued columns"] == levels["atoms"] == "fine"
    told = {f.name: f for f in base.estimate(rain, effort=effort).diagnose().findings}
    assert told["atoms"].level == "doubtful"
    assert told["atoms"].value.startswith("0 in column 0 (")
    categories = base.estimate(np.c_[rain[:, 1], rain[:, 0] > 0], effort=effort)
    assert "few values in column 1 with step 1" in categories.diagnostics.warnings[0]
    told = {f.name: f for f in categories.diagnose().findings}
    assert (told["few-valued columns"].level, told["few-valued columns"].value) == ("doubtful", "column 1")


@pytest.mark.slow
def test_analyses_of_a_rounded_table(base: discoformer.Model, iris: pd.DataFrame) -> None:
    p = base.estimate(iris)
    modes = p.modes()
    assert len(modes.labels) == 150
    assert len(modes.points) in (2, 3)
    drawn = p.sample(300, "diffusion")
    assert np.abs(np.log(drawn.std(0) / p.spread.points.std(0))).max() < 0.2
    y = p.spread.points[::5]
    assert np.mean(p.log_density(y, method="sd_kde")) == pytest.approx(np.mean(p.log_density(y)), abs=0.4)
    assert p.adapt(steps=2).adaptation is not None


def test_the_entropy_of_rounded_values_is_that_of_the_cells(
    base: discoformer.Model, rng: np.random.Generator
) -> None:
    x = 5 * rng.integers(0, 60, (1000, 1))
    found = entropy(x, model=base, effort="fast")
    assert found.value == pytest.approx(np.log(300), abs=0.1)
    exact = rng.normal(size=(60, 2))
    assert entropy(exact, model=base) == entropy(exact, model=base, rounding=None)


def test_information_of_tables_with_atoms(base: discoformer.Model, rng: np.random.Generator) -> None:
    wet = rng.random(600) < 0.6
    rain = np.where(wet, rng.gamma(3, size=600), 0)[:, None]
    alone, of_wet = (entropy(x, model=base, effort="fast") for x in (rain, rain[wet]))
    assert alone == of_wet
    other = rng.normal(size=(600, 1))
    for y, expected in ((other, 0), (other + 8 * wet[:, None], -(0.6 * np.log(0.6) + 0.4 * np.log(0.4)))):
        found = mutual_information(rain, y, model=base, effort="fast")
        assert found.value == pytest.approx(expected, abs=0.1)


def test_common_values_are_no_anomalies(base: discoformer.Model, rain: Floats) -> None:
    for columns in ([0], [0, 1]):
        found = find_anomalies(rain[:, columns], model=base, effort="fast")
        assert not found.found[rain[:, 0] == 0].any()
    values = np.append(rain[:, 0].round(1), 90)[:, None]
    p_values = Reference(values[:-1], model=base, effort="fast").p_values(values)
    assert np.mean(p_values[:-1] < 0.1) < 0.15
    assert p_values[-1] < 0.02


# Files and adapters


@pytest.mark.parametrize("whole", [False, True])
def test_saved_estimates_keep_it(
    kde: discoformer.Model, iris: pd.DataFrame, rain: Floats, tmp_path: Path, whole: bool
) -> None:
    for x in (iris.to_numpy(), rain, rain[:, :1]):
        p = kde.estimate(x)
        p.save(tmp_path / "p", sample=whole)
        again = discoformer.load_estimate(tmp_path / "p", kde)
        assert again.diagnostics == p.diagnostics
        assert again.cells == p.cells
        for ours, theirs in zip((*again.data, *again.spread), (*p.data, *p.spread), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(
            again.marginal(0).log_density([[0.7]]), p.marginal(0).log_density([[0.7]])
        )


def test_landmarks_alone_are_in_their_cells_already(
    kde: discoformer.Model, rng: np.random.Generator, tmp_path: Path
) -> None:
    x = rng.poisson(40, (300, 2)).astype(float)
    kde.estimate(x, landmarks=60).save(tmp_path / "p")
    with pytest.warns(discoformer.RangeWarning, match="without its sample"):
        marginal = discoformer.load_estimate(tmp_path / "p", kde).marginal(0)
    assert marginal.diagnostics.steps == (1,)
    assert marginal.spread is marginal.data
    assert np.abs(marginal.data.points % 1).max() > 0.1


@pytest.mark.filterwarnings("ignore:.* rows of X repeat others:discoformer.DataWarning")
@pytest.mark.parametrize("adapter", [AnomalyDetector, DensityClusterer, DensityEstimator, DensityImputer])
def test_scikit_learn(gaussian_folder: Path, iris: pd.DataFrame, adapter: Callable[..., object]) -> None:
    options = {"model": gaussian_folder, "device": "cpu", "threads": 1}
    for rounding, step in (("auto", 0.1), (None, 0), ({"petal_width_cm": 0.2}, 0.2), ({1: 0.2}, 0.2)):
        fitted = adapter(rounding=rounding, **options).fit(iris)  # type: ignore[attr-defined]
        assert fitted.estimate_.diagnostics.steps[1] == pytest.approx(step)


@pytest.mark.filterwarnings("ignore:.* rows of X repeat others:discoformer.DataWarning")
def test_scipy(gaussian: discoformer.Model, iris: pd.DataFrame) -> None:
    rounded = DensityEstimate(iris.to_numpy().T, model=gaussian)
    exact = DensityEstimate(iris.to_numpy().T, model=gaussian, rounding=None)
    wide = DensityEstimate(iris.to_numpy().T, model=gaussian, rounding={1: 3})
    at = [1.5, 0.2]
    assert wide.pdf(at) < rounded.pdf(at) < exact.pdf(at)


@pytest.mark.parametrize("command", ["estimate", "diagnose", "modes", "entropy", "anomalies", "adapt"])
def test_the_command_line_reads_steps(gaussian_folder: Path, tmp_path: Path, command: str) -> None:
    out = ("--out", tmp_path / "model") if command == "adapt" else ()
    if command == "adapt":
        pytest.importorskip("torch")
    bad = run(command, IRIS, "--model", gaussian_folder, "--rounding", "width=1", *out)
    assert bad.exit_code == 1
    assert (
        "--rounding must be auto, none, or COLUMN=STEP,... with columns among petal_length_cm" in bad.stderr
    )
    assert "got 'width=1'" in bad.stderr


def test_rounding_on_the_command_line(gaussian_folder: Path, tmp_path: Path, iris: pd.DataFrame) -> None:
    np.savetxt(tmp_path / "bare.csv", iris.to_numpy(), delimiter=",")
    for rounding, told in (
        ("auto", "x1 0.1, x2 0.1."),
        ("x2=0.5", "x1 0.1, x2 0.5."),
        ("x2 = 0, x1=0.2", "x1 0.2."),
        ("none", None),
    ):
        result = run(
            "sample", tmp_path / "bare.csv", "-n", 3, "--model", gaussian_folder, "--rounding", rounding
        )
        assert result.exit_code == 0, result.output
        assert ("Rounded values are spread over cells as wide as their step" in result.stderr) is bool(told)
        assert told is None or told in result.stderr
