"""Adaptation: never worse beyond chance, leaves the shared model as it is, is served without PyTorch."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save

import discoformer
from discoformer.analysis.adaptation_descent import CAUTION, DOUBT, MISMATCH, PARTS, _encode, chosen_step
from discoformer.analysis.adaptation_losses import Changes
from discoformer.cli import main
from discoformer.io.inputs import Floats

pytestmark = pytest.mark.slow

N = 400
STEPS = 48


def plateau(rng: np.random.Generator, n: int) -> Floats:
    """Draws from a square with soft edges, which no mixture of Gaussians of training resembles."""
    return rng.uniform(-1, 1, (n, 2)) + 0.05 * rng.normal(size=(n, 2))


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return discoformer.load("base", device="cpu", threads=1)


@pytest.fixture(scope="module")
def before(model: discoformer.Model) -> discoformer.Estimate:
    return model.estimate(plateau(np.random.default_rng(1), N))


@pytest.fixture(scope="module")
def after(before: discoformer.Estimate) -> discoformer.Estimate:
    return before.adapt(steps=STEPS, seed=3)


def adaptation_of(estimate: discoformer.Estimate) -> discoformer.Adaptation:
    assert estimate.adaptation is not None
    return estimate.adaptation


def same(one: discoformer.Estimate, other: discoformer.Estimate, at: Floats) -> bool:
    pairs = zip(one.log_density_and_score(at), other.log_density_and_score(at), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_steps_are_kept_that_help_held_out_points(after: discoformer.Estimate) -> None:
    done = adaptation_of(after)
    assert 0 < done.steps <= STEPS
    assert len(done.loss) == len(done.held_out) == len(done.held_out_error) == len(done.mismatch) == STEPS + 1
    assert done.loss[0] == done.held_out[0] == done.held_out_error[0] == 0
    assert np.all(np.diff(done.loss) <= 1e-12)  # a convex quadratic, and steps short enough
    assert done.held_out[1] <= DOUBT * done.held_out_error[1]
    assert done.held_out[done.steps] <= done.held_out[1]
    assert done.log_density_change > 0
    assert done.score_change > 0


def test_fresh_points_are_as_likely_or_likelier(
    before: discoformer.Estimate, after: discoformer.Estimate
) -> None:
    fresh = plateau(np.random.default_rng(2), 5_000)
    ours, theirs = (p.log_density(fresh).mean() - p.normalization().log_integral for p in (after, before))
    assert ours > theirs - 0.005  # nats; 5,000 points know the difference to about 0.001
    assert abs(after.normalization().log_integral) < 0.2


def test_neither_the_estimate_nor_its_model_changes(
    model: discoformer.Model, before: discoformer.Estimate, after: discoformer.Estimate
) -> None:
    at = plateau(np.random.default_rng(4), 50)
    again = model.estimate(plateau(np.random.default_rng(1), N))
    assert same(before, again, at)
    assert not same(before, after, at)
    assert before.adaptation is None
    assert model.metadata.version + "+adapted" == after.model.metadata.version
    assert model.metadata.weights_sha256 != after.model.metadata.weights_sha256


def test_the_same_seed_gives_the_same_whatever_the_order_of_rows(
    model: discoformer.Model, after: discoformer.Estimate, rng: np.random.Generator
) -> None:
    told: list[int] = []
    shuffled = rng.permutation(plateau(np.random.default_rng(1), N))
    again = model.estimate(shuffled).adapt(steps=STEPS, seed=3, on_progress=told.append)
    assert same(after, again, plateau(rng, 50))
    assert again.adaptation == after.adaptation
    assert told == [*range(1, PARTS + 1)]


def test_an_adapted_model_survives_pickling_and_saving(
    model: discoformer.Model, after: discoformer.Estimate, tmp_path: Path, rng: np.random.Generator
) -> None:
    at = plateau(rng, 50)
    assert same(after, pickle.loads(pickle.dumps(after)), at)
    after.model.save(tmp_path / "adapted")
    after.save(tmp_path / "fitted")
    loaded = discoformer.load(tmp_path / "adapted", device="cpu", threads=1)
    assert loaded.metadata == after.model.metadata
    assert same(after, loaded.estimate(plateau(np.random.default_rng(1), N)), at)
    assert same(after, discoformer.load_estimate(tmp_path / "fitted", loaded), at)
    with pytest.raises(discoformer.ModelError, match="adapted"):
        discoformer.load_estimate(tmp_path / "fitted", model)
    again = after.adapt(steps=1)  # starts from the adapted model
    assert again.model.metadata.version == after.model.metadata.version


def test_what_is_read_of_the_others_does_not_tell_of_those_held_out(
    model: discoformer.Model, rng: np.random.Generator
) -> None:
    others, weights = rng.gamma(2, size=(40, 2)), np.full(40, 1 / 50)
    found = []
    for held in (rng.normal(size=(10, 2)), 100 * rng.normal(size=(10, 2))):
        fitted = model.estimate(np.concatenate([others, held]))
        z = fitted.frame.to_frame(others)
        given, components, own = _encode(fitted, z, weights)
        z = own.to_frame(z)
        found.append(
            (
                np.square(z).sum(1),
                given["log_det_precision"],
                given["effective_size"],
                components.freedom,
            )
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_weights_of_rows_count(model: discoformer.Model) -> None:
    x = plateau(np.random.default_rng(6), 60)
    p = model.estimate(x, weights=np.linspace(0.5, 1.5, 60)).adapt(steps=4)
    assert np.isfinite(p.log_density_and_score(x)[1]).all()


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
def test_awkward_data(model: discoformer.Model, rng: np.random.Generator) -> None:
    """Few rows and many columns, a lattice, tails without a mean: answers are finite, or unchanged."""
    for x in (rng.normal(size=(24, 30)), rng.integers(0, 4, (60, 2)), rng.standard_t(1, (60, 2))):
        assert np.isfinite(model.estimate(x).adapt(steps=16).score(x)).all()


@pytest.mark.parametrize("dim", [1, 7])
def test_other_dimensions(model: discoformer.Model, dim: int, rng: np.random.Generator) -> None:
    p = model.estimate(rng.laplace(size=(90, dim))).adapt(steps=8)
    assert len(adaptation_of(p).held_out) == 9
    assert np.isfinite(p.score(rng.normal(size=(20, dim)))).all()


def test_where_held_out_points_object_the_model_stays(
    monkeypatch: pytest.MonkeyPatch, before: discoformer.Estimate
) -> None:
    monkeypatch.setattr("discoformer.analysis.adaptation_descent.DOUBT", -1e3)
    p = before.adapt(steps=8)
    assert adaptation_of(p).steps == 0
    assert same(p, before, np.zeros((3, 2)))
    assert p.model.graphs is before.model.graphs


def measured(mean: list[float], spread: float, m: int = 100) -> tuple[Changes, Floats]:
    """Losses whose changes have these means from the first step on, and heads that agree."""
    signs = np.tile([1.0, -1.0], m // 2) * spread * m**0.5
    change = np.array([0.0, *mean])[:, None] + np.arange(len(mean) + 1)[:, None] * signs
    return Changes(change, np.zeros_like(change), np.ones_like(change)), np.full(m, 1 / m)


def test_the_first_move_is_made_unless_held_out_points_object() -> None:
    for mean, steps in ((-0.1, 1), (0.9 * DOUBT, 1), (1.1 * DOUBT, 0), (np.nan, 0)):
        assert chosen_step(*measured([mean], 1.0)) == steps
    assert chosen_step(*measured([1.1 * DOUBT, -5.0 * CAUTION], 1.0)) == 0


def test_further_steps_need_evidence() -> None:
    enough = -1.1 * CAUTION
    assert chosen_step(*measured([0.0, enough], 1.0)) == 2
    assert chosen_step(*measured([0.0, 0.8 * enough], 1.0)) == 1
    assert chosen_step(*measured([0.0, enough, 1.5 * enough], 1.0)) == 2  # as good, with a larger error
    assert chosen_step(*measured([0.0, enough, np.nan], 1.0)) == 2


def test_heads_that_come_apart_end_it_unless_the_likelihood_gains() -> None:
    found, weights = measured([-3.0 * CAUTION * step for step in range(6)], 1.0)
    assert chosen_step(found, weights) == 6
    for apart, steps in ((4, 3), (2, 1), (1, 1)):  # the first step is never refused for this
        mismatch = np.ones_like(found.mismatch)
        mismatch[apart:] = 1.1 * MISMATCH
        assert chosen_step(found._replace(mismatch=mismatch), weights) == steps
        likelihood = np.full_like(found.likelihood, -0.2 * MISMATCH)
        likelihood[0] = 0
        parted = found._replace(mismatch=mismatch, likelihood=likelihood)
        assert chosen_step(parted, weights) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps must be a whole number, 1 or more, got 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number, 0 or more, got -1"),
    ],
)
def test_bad_arguments(before: discoformer.Estimate, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(discoformer.InputError, match=message):
        before.adapt(**arguments)


def test_too_few_points(model: discoformer.Model, rng: np.random.Generator) -> None:
    with pytest.raises(discoformer.InputError, match=r"needs 20 points or more, .* got 19"):
        model.estimate(rng.normal(size=(19, 2))).adapt()


def test_a_model_without_weights(gaussian: discoformer.Model, rng: np.random.Generator) -> None:
    with pytest.raises(
        discoformer.ModelNotFoundError, match=r"no weights\.safetensors in .*adaptation needs"
    ):
        gaussian.estimate(rng.normal(size=(30, 2))).adapt()


def test_weights_of_another_network(other_folder: Callable[..., Path], model: discoformer.Model) -> None:
    folder = other_folder()
    (folder / "weights.safetensors").write_bytes((model.folder / "weights.safetensors").read_bytes())
    with pytest.raises(discoformer.ModelError, match="are not those of"):
        discoformer.load(folder, device="cpu", trust=True)


@pytest.fixture
def copy(model: discoformer.Model, tmp_path: Path) -> Path:
    """A folder with the model."""
    model.save(tmp_path / "copy")
    return tmp_path / "copy"


def test_a_model_without_a_basis(copy: Path, rng: np.random.Generator) -> None:
    (copy / "adaptation.safetensors").unlink()
    p = discoformer.load(copy, device="cpu", threads=1).estimate(rng.normal(size=(30, 2)))
    with pytest.raises(discoformer.ModelNotFoundError, match=r"no adaptation\.safetensors .*train basis"):
        p.adapt()


def test_the_basis_of_another_model(copy: Path, rng: np.random.Generator) -> None:
    p = discoformer.load(copy, device="cpu", threads=1, trust=True).estimate(rng.normal(size=(30, 2)))
    (copy / "adaptation.safetensors").write_bytes(save({"basis": np.ones((3, 2), np.float32)}))
    with pytest.raises(
        discoformer.ModelError, match=r"shape \(3, 2\), needed finite numbers of shape \(\d+, r\)"
    ):
        p.adapt()


def test_the_models_own_folder_is_not_written_over(model: discoformer.Model) -> None:
    with pytest.raises(discoformer.InputError, match="choose another"):
        model.save(model.folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.csv"
    rows = plateau(np.random.default_rng(1), N)
    np.savetxt(path, rows, delimiter=",", header="a,b", comments="")
    return path


def test_the_command_line_adapts_and_serves_without_torch(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    result = CliRunner().invoke(
        main, ["adapt", str(data), "--out", str(out), "--threads", "1", "--steps", str(STEPS)]
    )
    assert result.exit_code == 0, result.output
    assert "steps kept" in result.stderr
    assert result.stdout == ""
    about = json.loads((out / "config.json").read_text())
    assert about["adaptation"]["steps"] > 0
    assert about["model"]["version"].endswith("+adapted")
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['torch', 'onnx', 'safetensors']))\n"
        "from discoformer.cli import main\nmain()"
    )
    command = [sys.executable, "-W", "error", "-c", code, "estimate", str(data), "--model", f"{out}/"]
    served = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    plain = CliRunner().invoke(main, ["estimate", str(data)]).stdout
    assert len(served.splitlines()) == N + 1
    assert served != plain


def test_without_torch_the_extra_is_named(data: Path, tmp_path: Path) -> None:
    code = "import sys\nsys.modules['torch'] = None\nfrom discoformer.cli import main\nmain()"
    command = [sys.executable, "-c", code, "adapt", str(data), "--out", str(tmp_path / "adapted")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "pip install torch" in done.stderr
    assert not (tmp_path / "adapted").exists()
