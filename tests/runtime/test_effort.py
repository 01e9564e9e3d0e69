"""The effort reaches every estimate: of analyses, of adapters of other libraries, of the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.base import clone

import discoformer
from discoformer import information
from discoformer.anomalies import find_anomalies
from discoformer.cli import main
from discoformer.errors import InputError
from discoformer.io.inputs import Floats
from discoformer.model import default_model
from discoformer.particles import flow, heat, own_density
from discoformer.posterior import sample_posterior
from discoformer.scipy import DensityEstimate
from discoformer.sklearn import AnomalyDetector, DensityClusterer, DensityEstimator, DensityImputer

EFFORTS = ("fast", "best")


@pytest.fixture
def x(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(100, 2)) @ [[2, 0.5], [0, 1]] + [3, -1]


@pytest.fixture
def as_default(monkeypatch: pytest.MonkeyPatch, mixture: discoformer.Model) -> Iterator[None]:
    """Make the stand-in the default model."""
    monkeypatch.setattr("discoformer.model.load", lambda: mixture)
    default_model.cache_clear()
    yield
    default_model.cache_clear()


@pytest.mark.usefixtures("as_default")
@pytest.mark.parametrize("effort", EFFORTS)
def test_the_default_model(mixture: discoformer.Model, x: Floats, effort: str) -> None:
    for found in (
        discoformer.estimate(x, effort=effort),  # type: ignore[arg-type]
        discoformer.estimate(x, None, None, None, effort),  # type: ignore[arg-type]
    ):
        assert found.effort == effort
        expected = mixture.estimate(x, effort=effort).log_density(x)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.log_density(x), expected, atol=1e-6)


def test_a_reference(mixture: discoformer.Model, x: Floats, rng: np.random.Generator) -> None:
    reference = discoformer.Reference(x, model=mixture, effort="fast")
    parts = [typicality.fitted for typicality in reference._folds]
    assert {p.effort for p in (reference.estimate, *parts)} == {"fast"}
    new = np.r_[rng.normal(size=(20, 2)) @ [[2, 0.5], [0, 1]] + [3, -1], [[60.0, 60.0]]]
    assert reference.find(new, fdr=0.2).found[-1]
    p_values = reference.p_values(x)
    assert p_values.min() > 0
    assert 0.4 < p_values.mean() < 0.6


def test_anomalies_in_a_sample(mixture: discoformer.Model, x: Floats) -> None:
    found = find_anomalies(np.r_[x, [[90.0, -90.0]]], model=mixture)
    assert found.found[-1]
    best = find_anomalies(np.r_[x, [[90.0, -90.0]]], model=mixture, effort="best")
    assert not np.array_equal(found.log_density, best.log_density)


@pytest.mark.parametrize("functional", ["entropy", "fisher", "kl", "relative_fisher", "mutual_information"])
def test_information(mixture: discoformer.Model, x: Floats, functional: str) -> None:
    samples = {
        "entropy": (x,),
        "fisher": (x,),
        "kl": (x, x[::-1] + 0.5),
        "relative_fisher": (x, x[::-1] + 0.5),
        "mutual_information": (x[:, :1], x[:, 1:]),
    }[functional]
    function = getattr(information, functional)
    fast, best = (function(*samples, model=mixture, effort=effort).value for effort in EFFORTS)
    assert np.isfinite(fast)
    assert fast != best
    with pytest.raises(InputError, match="effort must be"):
        function(*samples, model=mixture, effort="slow")


def test_the_entropy_of_the_sample_is_near_that_of_the_estimate(
    mixture: discoformer.Model, x: Floats
) -> None:
    found = information.entropy(x, model=mixture, effort="fast")
    exact = mixture.estimate(x, effort="fast").entropy(20000)
    assert found.value == pytest.approx(exact.entropy, abs=0.5)


@pytest.mark.usefixtures("as_default")
def test_particles_and_posteriors(mixture: discoformer.Model, x: Floats) -> None:
    log_density, score = own_density(mixture, "fast")(x)
    expected = mixture.estimate(x, effort="fast").log_density_and_score(x)
    np.testing.assert_array_equal(log_density, expected[0])
    np.testing.assert_array_equal(score, expected[1])
    for effort in EFFORTS:
        moved = flow(x, heat(), 0.1, 1, effort=effort)  # type: ignore[arg-type]
        again = flow(x, heat(), 0.1, 1, own_density(mixture, effort))  # type: ignore[arg-type]
        np.testing.assert_allclose(moved.points, again.points, atol=1e-6)
        found = sample_posterior(lambda y: -y, x, 2, 0, effort=effort)  # type: ignore[arg-type]
        again = sample_posterior(lambda y: -y, x, 2, 0, own_density(mixture, effort))  # type: ignore[arg-type]
        np.testing.assert_allclose(found.points, again.points, atol=1e-6)
    with pytest.raises(InputError, match="effort must be"):
        flow(x, heat(), 0.1, 1, effort="slow")  # type: ignore[arg-type]


def test_scipy(mixture: discoformer.Model, x: Floats) -> None:
    p = mixture.estimate(x, effort="fast")
    found = DensityEstimate(x.T, model=mixture, effort="fast")
    np.testing.assert_array_equal(found.logpdf(x.T), p.log_density(x))
    np.testing.assert_array_equal(found.resample(7, seed=1).shape, (2, 7))


@pytest.mark.parametrize("kind", [AnomalyDetector, DensityClusterer, DensityEstimator, DensityImputer])
def test_scikit_learn(gaussian_folder: Path, x: Floats, kind: type) -> None:
    unfitted = clone(kind(model=gaussian_folder, device="cpu", threads=1, effort="fast"))
    assert unfitted.get_params()["effort"] == "fast"
    assert unfitted.fit(x).estimate_.effort == "fast"
    with pytest.raises(InputError, match="effort must be"):
        unfitted.set_params(effort="slow").fit(x)


def test_the_reference_of_a_detector_keeps_the_effort(gaussian_folder: Path, x: Floats) -> None:
    detector = AnomalyDetector(model=gaussian_folder, device="cpu", threads=1, effort="best").fit(x)
    detector.p_values(x[:3])
    assert detector._reference.estimate.effort == "best"


@pytest.fixture
def data(x: Floats, tmp_path: Path) -> Path:
    pd.DataFrame(x, columns=["a", "b"]).to_csv(tmp_path / "data.csv", index=False)
    return tmp_path / "data.csv"


def run(folder: Path, *arguments: object) -> Result:
    options = ["--model", str(folder), "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(main, [*map(str, arguments), *options])


@pytest.mark.parametrize(
    "command", ["estimate", "sample", "modes", "anomalies", "impute", "entropy", "diagnose"]
)
def test_commands(mixture_alone: Path, data: Path, command: str) -> None:
    more: tuple[object, ...] = ("-n", 5) if command == "sample" else ()
    if command == "impute":
        lines = data.read_text().splitlines()
        lines[3] = ",1.5"
        data.write_text("\n".join(lines) + "\n")
    result = run(mixture_alone, command, data, *more, "--effort", "fast")
    assert result.exit_code == 0, result.output
    refused = run(mixture_alone, command, data, *more, "--effort", "best")
    assert refused.exit_code == 1
    assert "effort='best' needs encode.onnx and query.onnx" in refused.stderr
    assert run(mixture_alone, command, data, *more, "--effort", "slow").exit_code == 2


def test_estimate_on_the_command_line(
    mixture: discoformer.Model, mixture_folder: Path, data: Path, x: Floats
) -> None:
    result = run(mixture_folder, "estimate", data, "--effort", "fast", "--format", "jsonl")
    found = [json.loads(line)["log_density"] for line in result.stdout.splitlines()]
    np.testing.assert_allclose(found, mixture.estimate(x, effort="fast").log_density(x), rtol=1e-12)


def test_sample_on_the_command_line(gaussian_folder: Path, data: Path) -> None:
    result = run(gaussian_folder, "sample", data, "-n", 3, "--effort", "fast")
    assert len(result.stdout.splitlines()) == 4
    assert "Accepted" not in result.stderr
    result = run(gaussian_folder, "sample", data, "-n", 3, "--method", "exact")
    assert result.exit_code == 1
    assert "needs effort='fast'" in result.stderr


def test_the_doctor_tries_both_efforts(gaussian_folder: Path, mixture_alone: Path) -> None:
    for folder, said in (
        (gaussian_folder, ["trial, fast", "trial, best"]),
        (mixture_alone, ["trial, fast"]),
    ):
        result = CliRunner().invoke(main, ["doctor", "--device", "cpu", "--model", str(folder)])
        assert [line for line in ("trial, fast", "trial, best") if line in result.stdout] == said
