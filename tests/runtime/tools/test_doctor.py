"""The doctor: what it reports if everything works, and its advice if something does not."""

import re
from importlib import metadata
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner, Result

import discoformer
from discoformer.cli import main
from discoformer.tools import doctor


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--device", "cpu", *arguments])


def test_all_is_well_with_the_released_model() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for said in (
        "onnxruntime",
        "CPUExecutionProvider",
        "base ",
        "SHA-256",
        "1 to 100 columns",
        "device",
        "trial",
    ):
        assert said in result.stdout
    for file in ("mixture", "encode", "query", "discoformer"):
        assert re.search(rf"nodes +{file}\.onnx: \d+ on CPUExecutionProvider\n", result.stdout)
    assert result.stderr == ""


def test_a_model_that_is_not_there() -> None:
    result = run("--model", "nosuch")
    assert result.exit_code == 1
    assert "model        cannot be loaded" in result.stdout
    assert "To do: model: no model 'nosuch'" in result.stderr


def test_a_model_that_gives_wrong_answers(gaussian_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--model", str(gaussian_folder)).exit_code == 0
    monkeypatch.setattr(doctor, "_CLOSE", 1e-9)
    result = run("--model", str(gaussian_folder))
    assert result.exit_code == 1
    assert "wrong answers here" in result.stderr


def test_two_builds_of_onnxruntime(
    gaussian_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        (tmp_path / f"{name}-1.2.3.dist-info").mkdir()
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "onnxruntime" / "__init__.py"))
    with pytest.warns(discoformer.DeviceWarning, match="overwrite each other"):
        discoformer.load(gaussian_folder, "cpu")
    result = run("--model", str(gaussian_folder))
    assert result.exit_code == 1
    assert "onnxruntime 1.2.3, onnxruntime-gpu 1.2.3" in result.stdout
    assert "pip uninstall onnxruntime onnxruntime-gpu, then install one" in result.stderr


def test_extras_that_are_not_installed(gaussian_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        if name in ("pyarrow", "scikit-learn"):
            raise metadata.PackageNotFoundError(name)
        return "9.9"

    monkeypatch.setattr(doctor, "version", absent)
    result = run("--model", str(gaussian_folder))
    assert result.exit_code == 0  # they are optional
    assert "no pyarrow [io], matplotlib 9.9, no scikit-learn [sklearn]" in result.stdout
