"""JavaScript reads samples as Python does, and each reads the estimates that the other saves."""

import dataclasses
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from benchmarks.common.r_tables import load
from discoformer.base.standardised import ADVICE
from tests.js.samples import Case, Floats, cases, queries_of

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("answer.mjs")
TOLERANCE = 2e-5  # of answers, relative; the network rounds to float32
DIGITS = 9  # of diagnostics
PYTHON_ONLY = f", {ADVICE}"  # JavaScript has no such option

Answer = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
pytestmark = [
    pytest.mark.filterwarnings("ignore::discoformer.DataWarning", "ignore::discoformer.RangeWarning")
]


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load(ROOT / "models" / "base", device="cpu", threads=1)


@pytest.fixture(scope="module")
def answer(run: Callable[..., str]) -> Answer:
    return lambda given: json.loads(run("node", SCRIPT, text=json.dumps(given)))


def error(got: Any, wanted: Floats) -> float:
    """Return max |got - wanted| / (1 + max |wanted|)."""
    return float(np.abs(np.ravel(got) - np.ravel(wanted)).max() / (1 + np.abs(wanted).max()))


def given_of(case: Case, queries: Floats) -> dict[str, Any]:
    """Return a case as answer.mjs takes it."""
    options = {_camel(name): value for name, value in case.options.items()}
    options |= {} if case.weights is None else {"weights": case.weights.tolist()}
    return {"X": case.points.tolist(), "Y": queries.tolist(), "options": options}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def rounded(value: Any) -> Any:
    """Return numbers with so many digits, and tuples as lists."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


@pytest.mark.slow
def test_answers_diagnostics_and_warnings(model: discoformer.Model, answer: Answer) -> None:
    seed = 1
    drawn = list(cases(seed))
    iris = np.loadtxt(ROOT / "tests" / "data" / "iris_petals.csv", delimiter=",", skiprows=1)
    drawn += [Case("iris", iris), Case("one column of iris", iris[:, :1])]
    for table, split in (("HSAUR/Forbes2000", 3), ("AER/Guns", 1)):  # the network is astray at first
        points = load(table)
        rows = np.random.default_rng([0, split]).permutation(len(points))
        drawn.append(Case(table, points[rows[: round(0.8 * len(points))]], None, {"landmarks": 1024}))
    queries = [queries_of(case.points, seed) for case in drawn]
    found = answer([given_of(*pair) for pair in zip(drawn, queries, strict=True)])
    for case, asked, got in zip(drawn, queries, found, strict=True):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            p = model.estimate(case.points, case.weights, effort="fast", **case.options)
        log_density, score = p.log_density_and_score(asked)
        assert error(got["logDensity"], log_density) < TOLERANCE, case.name
        assert error(got["score"], score) < TOLERANCE, case.name
        wanted = {_camel(name): value for name, value in dataclasses.asdict(p.diagnostics).items()}
        wanted["warnings"] = [text.replace(PYTHON_ONLY, "") for text in p.diagnostics.warnings]
        assert rounded(got["diagnostics"]) == rounded(wanted), case.name
        assert got["told"] == [str(warning.message).replace(PYTHON_ONLY, "") for warning in told], case.name


def archived(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays in a file by name."""
    with np.load(path) as arrays:
        return {name: arrays[name].shape for name in arrays}


@pytest.mark.parametrize("sample", [False, True], ids=["answers", "with its sample"])
@pytest.mark.parametrize("rows", [100, 3000], ids=["small", "large"])
@pytest.mark.parametrize("steps", [0, 0.1], ids=["smooth", "rounded"])
def test_each_reads_what_the_other_saves(
    model: discoformer.Model, answer: Answer, tmp_path: Path, sample: bool, rows: int, steps: float
) -> None:
    rng = np.random.default_rng(rows)
    X, Y = rng.normal(size=(rows, 3)) * [1, 2, 3], rng.normal(size=(9, 3))
    X = np.round(X, 1) if steps else X
    paths = {name: tmp_path / f"{name}.npz" for name in ("python", "javascript", "again")}
    p = model.estimate(X, effort="fast")
    p.save(paths["python"], sample=sample)
    wanted = p.log_density(Y)
    given = {"X": X.tolist(), "Y": Y.tolist(), "sample": sample}
    saves = {**given, "options": {"columns": ["a", "β", "c"]}, "save": str(paths["javascript"])}
    loads = {**given, "load": str(paths["python"]), "save": str(paths["again"])}
    made, loaded = answer([saves, loads])
    assert error(made["logDensity"], wanted) < TOLERANCE
    assert error(loaded["logDensity"], wanted) < 1e-6  # the mixture is the same
    assert archived(paths["javascript"]) == archived(paths["python"])
    for name, columns in (("javascript", ("a", "β", "c")), ("again", None)):
        q = discoformer.load_estimate(paths[name], model)
        assert q.columns == columns
        assert error(q.log_density(Y), wanted) < TOLERANCE
        assert q.diagnostics.n == rows
        assert (q.diagnostics.steps == (0.1, 0.1, 0.1)) == bool(steps)
        assert q.holds_sample == (sample or rows == 100)
        if sample:
            np.testing.assert_array_equal(q.data.points, p.data.points)
            np.testing.assert_allclose(q.spread.points, p.spread.points, rtol=0, atol=1e-12)


def test_the_page_of_the_format_names_what_is_saved(model: discoformer.Model, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "saved_format.md").read_text(encoding="utf-8")
    of_arrays, of_about = re.split(r"`about` is an object", page)
    path = tmp_path / "saved.npz"
    X = np.random.default_rng(0).normal(size=(50, 2)).round(1)
    model.estimate(X, effort="fast").save(path, sample=True)
    with np.load(path) as arrays:
        names, about = set(arrays), json.loads(str(arrays["about"]))
    rows = (line.split("|")[1] for line in of_arrays.splitlines() if line.startswith("| `"))
    assert {name for row in rows for name in re.findall(r"`([\w.]+)`", row)} == names
    rows = (line.split("|")[1] for line in of_about.splitlines() if line.startswith("| `"))
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == about.keys()
    assert f"for format {about['format']}" in page
