"""The command line of training: a run, its continuation, its errors, and the benchmark of what it made."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from discoformer_training.cli import commands
from discoformer_training.evaluation import cells
from discoformer_training.evaluation.cells import Cell
from discoformer_training.run.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

CPU = ("--accelerator", "cpu")
TINY = (*CPU, "--dims", "1", "3", "--context-sizes", "32", "40", "--tokens", "200")
ROOT = Path(__file__).parents[2]
SMALL = '{"network": {"blocks": 1, "scalars": 8}}'


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def on_mixture(mixture_file: Path) -> tuple[object, ...]:
    """Options of a new run of heads."""
    return (*TINY, "--mixture-from", mixture_file)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, on_mixture: tuple[object, ...]) -> Path:
    out = tmp_path_factory.mktemp("run")
    (out / "config.json").write_text(SMALL)
    result = invoke("run", "--out", out, "--config", out / "config.json", "--steps", 3, *on_mixture)
    assert result.exit_code == 0, result.output
    return out / "checkpoint.safetensors"


def test_a_run_leaves_a_checkpoint_with_its_configuration(checkpoint: Path) -> None:
    config, progress, _ = load_checkpoint(checkpoint)
    assert progress.step == config.steps == 3
    assert config.stream.dims == (1, 3)
    assert config.stream.context_sizes == (32, 40)


def test_a_finished_run_resumed_takes_no_step_and_keeps_its_configuration(
    checkpoint: Path, tmp_path: Path
) -> None:
    result = invoke("run", "--out", tmp_path, "--resume", checkpoint, "--accelerator", "cpu")
    assert result.exit_code == 0, result.output
    assert "is at step 3 of 3: nothing is left to train" in result.output
    assert "nan" not in result.output
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[:2] == load_checkpoint(checkpoint)[:2]


@pytest.mark.parametrize("name", ["dims", "context-sizes"])
@pytest.mark.parametrize("given", [(0, 5), (-3, -1), (9, 8)])
def test_sizes_that_no_data_set_has_are_refused(tmp_path: Path, name: str, given: tuple[int, int]) -> None:
    result = invoke("run", "--out", tmp_path, f"--{name}", *given, *CPU)
    assert result.exit_code == 2
    assert f"{name.replace('-', '_')} must be a least number, 1 or more, and a greatest one" in result.output


def test_heads_without_a_mixture_network_are_refused_with_what_to_do(tmp_path: Path) -> None:
    result = invoke("run", "--out", tmp_path, "--steps", 1, *TINY)
    assert result.exit_code == 1
    assert "--mixture-from" in result.output
    assert "Traceback" not in result.output


def test_settings_come_from_the_file_and_then_from_the_command_line(
    tmp_path: Path, on_mixture: tuple[object, ...]
) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"seed": 4, "network": {"blocks": 1, "scalars": 8}, "stream": {"modes": [2, 3]}}')
    result = invoke("run", "--out", tmp_path, "--config", file, "--steps", 1, *on_mixture)
    assert result.exit_code == 0, result.output
    config = load_checkpoint(tmp_path / "checkpoint.safetensors")[0]
    assert (config.seed, config.steps, config.network.blocks, config.network.scalars) == (4, 1, 1, 8)
    assert (config.stream.modes, config.stream.tokens, config.stream.dims) == ((2, 3), 200, (1, 3))


def test_of_several_files_each_changes_what_it_names(tmp_path: Path, on_mixture: tuple[object, ...]) -> None:
    files = []
    for name, text in (
        ("one", '{"seed": 4, "network": {"blocks": 1, "scalars": 16}, "stream": {"modes": [2, 3]}}'),
        ("other", '{"clip": 0.5, "network": {"scalars": 8}, "stream": {"queries": 2.0}}'),
    ):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(text)
    given = [argument for file in files for argument in ("--config", file)]
    result = invoke("run", "--out", tmp_path, *given, "--steps", 1, *on_mixture)
    assert result.exit_code == 0, result.output
    config = load_checkpoint(tmp_path / "checkpoint.safetensors")[0]
    assert (config.seed, config.clip, config.network.blocks, config.network.scalars) == (4, 0.5, 1, 8)
    assert (config.stream.modes, config.stream.queries) == ((2, 3), 2.0)


def test_a_run_from_the_weights_of_another_has_its_networks(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"network": {"blocks": 2}}')
    start = ("--weights-from", checkpoint)
    result = invoke("run", "--out", tmp_path, *start, "--steps", 2, *TINY)
    assert result.exit_code == 0, result.output
    config, before = (load_checkpoint(path)[0] for path in (tmp_path / checkpoint.name, checkpoint))
    assert (config.network, config.proposal) == (before.network, before.proposal)
    assert config.steps == 2
    refused = invoke("run", "--out", tmp_path, *start, "--config", file, *TINY)
    assert refused.exit_code == 1
    assert "remove `network` from --config" in refused.output


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"stepz": 3}',
        '{"network": {"depth": 1}}',
        '{"stream": {"families": {"x": 1}}}',
        '{"stream": {"fitted_base": true}}',
    ],
)
def test_a_file_of_settings_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    result = invoke("run", "--out", tmp_path, "--config", file)
    assert result.exit_code == 1
    assert str(file) in result.output


def test_dimensions_in_which_no_family_has_densities_are_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"stream": {"dims": [2, 5], "families": {"ring": 1}}}')
    result = invoke("run", "--out", tmp_path, "--config", file, "--dims", 1, 5)
    assert result.exit_code == 2
    assert "raise the least of dims" in result.output


def test_families_are_held_out_by_name(tmp_path: Path, on_mixture: tuple[object, ...]) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"network": {"blocks": 1}, "stream": {"families": {"gmm": 1, "ring": 2, "beta": 3}}}')
    held_out = ("--hold-out", "ring", "--hold-out", "gumbel")
    result = invoke("run", "--out", tmp_path, "--config", file, "--steps", 1, *on_mixture, *held_out)
    assert result.exit_code == 0, result.output
    config = load_checkpoint(tmp_path / "checkpoint.safetensors")[0]
    assert config.stream.families == {"gmm": 1, "ring": 0, "beta": 3, "gumbel": 0}
    unknown = invoke("run", "--out", tmp_path, "--hold-out", "cauchy")
    assert unknown.exit_code == 2
    assert "'cauchy'" in unknown.output


def test_settings_beside_a_checkpoint_to_continue_are_a_usage_error(checkpoint: Path, tmp_path: Path) -> None:
    for setting in (("--seed", 1), ("--mixture-from", checkpoint)):
        result = invoke("run", "--out", tmp_path, "--resume", checkpoint, *setting)
        assert result.exit_code == 2
        assert "--resume" in result.output


def test_an_unreadable_checkpoint_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    result = invoke("run", "--out", tmp_path, "--resume", tmp_path / "absent", "--accelerator", "cpu")
    assert result.exit_code == 1
    assert "cannot be read" in result.output
    assert "Traceback" not in result.output


def test_the_benchmark_measures_a_checkpoint_beside_the_baselines(checkpoint: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    options = ("--cell", "gmm:2:64:1-3", "--draws", 2, "--seed", 5, "--cache", cache)
    result = invoke("benchmark", checkpoint, *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert (report["seed"], report["draws"]) == (5, 2)
    names = {row["name"] for row in report["rows"]}
    assert {"discoformer", "kde_best", "gmm_bic", "gaussian"} <= names
    assert all(row["cell"]["modes"] == [1, 3] for row in report["rows"])
    for text in (result.output, (tmp_path / "benchmark.md").read_text()):
        assert all(name in text for name in names)


def test_the_wide_table_is_measured_where_no_cell_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = Cell("laplace", 2, 64, queries=16)
    monkeypatch.setitem(cells.TABLES, "wide", lambda: [one])
    options = ("--cells", "wide", "--draws", 1, "--cache", tmp_path / "cache.json", "--out", tmp_path)
    result = invoke("benchmark", *options)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert {row["cell"]["family"] for row in rows} == {"laplace"}
    assert "laplace D=2 N=64" in result.output


def test_a_basis_is_kept_in_the_checkpoint_which_can_be_trained_further(
    checkpoint: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(checkpoint, copy)
    result = invoke("basis", copy, "--tasks", 2)
    assert result.exit_code == 0, result.output
    (config, progress, tensors), before = load_checkpoint(copy), load_checkpoint(checkpoint)
    basis = tensors.pop("adaptation.basis")
    assert basis.shape[1] == 2
    assert basis.isfinite().all()
    assert (config, progress) == before[:2]
    assert tensors.keys() == before[2].keys()
    assert all(torch.equal(tensor, before[2][name]) for name, tensor in tensors.items())
    assert invoke("run", "--out", tmp_path, "--resume", copy, *CPU).exit_code == 0
    missing = invoke("basis", tmp_path / "none.safetensors")
    assert missing.exit_code == 1
    assert "cannot be read" in missing.output


def test_the_basis_of_a_mixture_network_is_refused(mixture_file: Path) -> None:
    refused = invoke("basis", mixture_file, "--tasks", 2)
    assert refused.exit_code == 1
    assert "needed the kind 'heads'" in refused.output


def test_the_basis_of_a_released_model_goes_into_a_file_of_its_own(tmp_path: Path, released: Path) -> None:
    refused = invoke("basis", released)
    assert refused.exit_code == 2
    assert "--out FILE.safetensors" in refused.output
    out = tmp_path / "base.safetensors"
    result = invoke("basis", released, "--tasks", 2, "--out", out)
    assert result.exit_code == 0, result.output
    before, after = load_checkpoint(released), load_checkpoint(out)
    assert after[:2] == before[:2]
    assert after[2].pop("adaptation.basis").shape[1] == 2
    assert before[2].pop("adaptation.basis").shape[1] == 3
    assert after[2].keys() == before[2].keys()
    assert all(torch.equal(tensor, before[2][name]) for name, tensor in after[2].items())


def test_a_run_begins_with_the_weights_of_a_released_model_and_cannot_resume_it(
    tmp_path: Path, released: Path
) -> None:
    resumed = invoke("run", "--out", tmp_path, "--resume", released, *CPU)
    assert resumed.exit_code == 1
    assert "averaged weights only" in resumed.output
    run = invoke("run", "--out", tmp_path, "--weights-from", released, "--steps", 1, *TINY)
    assert run.exit_code == 0, run.output
    config, before = (load_checkpoint(path)[0] for path in (tmp_path / "checkpoint.safetensors", released))
    assert (config.network, config.proposal) == (before.network, before.proposal)


@pytest.mark.parametrize(
    ("start", "recipes"),
    [
        ("--mixture-from models/base/mixture.safetensors", "base heads"),
        ("--mixture-from models/base/mixture.safetensors", "base heads gpu"),
        ("--weights-from models/base/mixture.safetensors", "base mixture"),
        ("--weights-from models/base/mixture.safetensors", "base mixture mixture_gpu"),
        ("--weights-from models/base", "base heads"),
    ],
)
def test_every_recipe_can_begin_with_the_kept_networks(tmp_path: Path, start: str, recipes: str) -> None:
    option, source = start.split()
    files = [ROOT / "training" / "recipes" / f"{recipe}.json" for recipe in recipes.split()]
    given = [argument for file in files for argument in ("--config", file)]
    result = invoke("run", "--out", tmp_path, "--steps", 0, *CPU, option, ROOT / source, *given)
    assert result.exit_code == 0, result.output
    begun, kept = (load_checkpoint(path)[0] for path in (tmp_path / "checkpoint.safetensors", ROOT / source))
    if option == "--weights-from":
        assert begun.network == kept.network
    else:
        assert begun.network.kind == "heads"
        assert begun.proposal == kept.network


@pytest.mark.parametrize("cell", ["gmm:2", "gmm:x:64", "gmm:2:64:1:2", "2:64"])
def test_a_cell_that_cannot_be_read_is_a_usage_error(cell: str) -> None:
    result = invoke("benchmark", "--cell", cell)
    assert result.exit_code == 2
    assert "FAMILY:D:N" in result.output


def test_help_needs_neither_torch_nor_lightning_and_a_run_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['lightning'] = None\n"
        "from discoformer_training.cli import main\n"
        "sys.argv[0] = 'discoformer-train'; main()"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
        )

    assert run("run", "--help").returncode == 0
    missing = run("run", "--out", "nowhere")
    assert missing.returncode == 1
    assert "pip install '.[train]'" in missing.stderr
