"""Finding and opening models: what is loaded, and what is said when it cannot be."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import discoformer
from discoformer import model as model_module
from discoformer.onnx import finding, placement

Folder = Callable[..., Path]


def test_metadata(gaussian: discoformer.Model) -> None:
    about = gaussian.metadata
    assert (about.name, about.trained_dim, about.config) == ("stand-in", (1, 100), {"heads": 1})
    assert repr(gaussian) == "Model('stand-in', version='0.0.1', device='cpu')"


def test_paths_and_names(gaussian_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert discoformer.load(str(gaussian_folder), "cpu").folder == gaussian_folder
    package = tmp_path / "runtime" / "discoformer"
    monkeypatch.setattr(finding, "__file__", str(package / "onnx" / "finding.py"))
    for place in (tmp_path / "models", package / "models"):  # the package goes before the checkout
        place.mkdir(parents=True)
        (place / "mine").symlink_to(gaussian_folder)
        assert finding.find_folder("mine") == place / "mine"


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(discoformer.ModelNotFoundError) as error:
        discoformer.load("nosuch")
    for said in ("'nosuch'", "discoformer/models/nosuch does not exist", "reinstall", "'./nosuch'"):
        assert said in str(error.value)
    (tmp_path / "config.json").touch()
    with pytest.raises(FileNotFoundError, match=r"holds config\.json; pass the folder"):
        discoformer.load(tmp_path)
    with pytest.raises(discoformer.ModelError, match="is not a folder"):
        discoformer.load(tmp_path / "config.json")


def test_files_that_do_not_fit_together(other_folder: Folder) -> None:
    with pytest.raises(discoformer.ModelError, match=r"different weights \(0123456789ab, ffffffffffff\)"):
        discoformer.load(other_folder(query={"weights_sha256": "f" * 64}))
    with pytest.raises(discoformer.ModelError, match=r"query\.onnx has no usable metadata"):
        discoformer.load(other_folder(query={"trained_dim_max": "many"}))


def test_files_that_are_no_graphs(other_folder: Folder) -> None:
    folder = other_folder()
    (folder / "encode.onnx").write_bytes(b"not a graph")
    with pytest.raises(discoformer.ModelError, match=r"encode\.onnx is not opened.*is not ONNX"):
        discoformer.load(folder, trust=True)


def test_graphs_of_another_version(other_folder: Folder) -> None:
    folder = other_folder()
    (folder / "query.onnx").write_bytes((folder / "encode.onnx").read_bytes())
    with pytest.raises(discoformer.ModelError, match=r"missing outputs \['log_density', 'score'\]"):
        discoformer.load(folder, trust=True)
    folder = other_folder()
    (folder / "encode.onnx").write_bytes((folder / "query.onnx").read_bytes())
    with pytest.raises(discoformer.ModelError, match=r"unknown inputs \['queries'\]"):
        discoformer.load(folder, trust=True)


def test_arguments(gaussian_folder: Path) -> None:
    with pytest.raises(discoformer.InputError, match="got 'gpu'"):
        discoformer.load(gaussian_folder, device="gpu")
    with pytest.raises(discoformer.InputError, match="'cuda:1', got 'cuda:first'"):
        discoformer.load(gaussian_folder, device="cuda:first")
    with pytest.raises(discoformer.InputError, match="got 0"):
        discoformer.load(gaussian_folder, threads=0)
    with pytest.raises(discoformer.InputError, match=r"got \['CPUExecutionProvider'\] with device='cpu'"):
        discoformer.load(gaussian_folder, "cpu", providers=["CPUExecutionProvider"])


def test_providers_are_passed_on(gaussian_folder: Path, rng: np.random.Generator) -> None:
    """The CPU build has a provider that takes no node, so that all run on the next one."""
    x = rng.normal(size=(60, 2))
    expected = discoformer.load(gaussian_folder, "cpu", 1).estimate(x).log_density(x)
    names = onnxruntime.get_available_providers()
    model = discoformer.load(gaussian_folder, threads=1, providers=[(names[0], {}), *names[1:]])
    assert model.device == "cpu"
    np.testing.assert_array_equal(model.estimate(x).log_density(x), expected)
    assert model.graphs.opened()["query.onnx"].get_providers() == names
    with pytest.raises(discoformer.DeviceError, match="the provider NoneSuch is not available: onnxruntime"):
        discoformer.load(gaussian_folder, providers=["NoneSuch", *names])


def test_cuda_that_is_not_built_in(gaussian_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert discoformer.load(gaussian_folder, "auto").device == "cpu"
    with pytest.raises(
        discoformer.DeviceError, match="offers CPUExecutionProvider only; install the GPU build"
    ):
        discoformer.load(gaussian_folder, "cuda:1")


def test_cuda_that_does_not_start(gaussian_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu without a GPU lists CUDA, and hands out a session that runs on the CPU."""
    real = onnxruntime.InferenceSession

    def falls_back(path: Path, options: Any, providers: list[Any]) -> Any:
        return real(path, options, providers=[p for p in providers if isinstance(p, str)])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [placement.CUDA, placement.CPU])
    cannot = partial(print, "Failed to load libcublas")
    monkeypatch.setattr(onnxruntime, "preload_dlls", cannot, raising=False)  # absent before 1.21
    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    with pytest.raises(discoformer.DeviceError, match="could not start it"):
        discoformer.load(gaussian_folder, "cuda")
    with pytest.warns(discoformer.DeviceWarning, match="Running on the CPU") as caught:
        assert discoformer.load(gaussian_folder, "auto").device == "cpu"
    assert len(caught) == 1
    assert discoformer.load(gaussian_folder, "cpu").device == "cpu"


def test_without_onnxruntime(gaussian_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(discoformer.MissingExtraError, match=r"pip install onnxruntime"):
        discoformer.load(gaussian_folder)


def test_the_default_model_is_loaded_once(
    gaussian: discoformer.Model, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    calls = []
    monkeypatch.setattr(model_module, "load", lambda: calls.append(1) or gaussian)
    model_module.default_model.cache_clear()
    x, w = rng.normal(size=(60, 2)), rng.random(60)
    for arguments in ((x,), (x, w), (x, w, 30.0, 20)):
        ours, theirs = discoformer.estimate(*arguments), gaussian.estimate(*arguments)
        assert ours.diagnostics == theirs.diagnostics
        np.testing.assert_array_equal(ours.score(x), theirs.score(x))
    assert len(calls) == 1
    model_module.default_model.cache_clear()


def test_estimating_with_the_default_model_fails_as_with_any(rng: np.random.Generator) -> None:
    with pytest.raises(discoformer.DegenerateDataError, match="2 rows"):
        discoformer.estimate([[1.0]])
    with pytest.raises(discoformer.InputError, match="landmarks must be"):
        discoformer.estimate(rng.normal(size=(60, 2)), landmarks=0)
    with pytest.warns(discoformer.RangeWarning, match="5 rows") as caught:
        discoformer.estimate(rng.normal(size=(5, 2)))
    assert caught[0].filename == __file__
