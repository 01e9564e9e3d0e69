"""Checkpoints: what goes in comes out, files appear whole or not at all, and bad ones are named."""

import errno
import io
import json
import math
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from discoformer.errors import DiscoformerError
from discoformer.io import files
from discoformer_training.data.stream import StreamConfig
from discoformer_training.nn.config import NetworkConfig
from discoformer_training.nn.mixture_network import MixtureNetwork
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.basis import TENSOR
from discoformer_training.run.checkpoint import (
    FORMAT,
    CheckpointError,
    Progress,
    load_any_network,
    load_checkpoint,
    load_mixture_network,
    load_network,
    save_checkpoint,
    with_prefix,
)
from discoformer_training.run.config import RETIRED, RETIRED_OF_STREAM, TrainConfig
from discoformer_training.run.loss import LossConfig

OLD = "discoformer-checkpoint-1"  # the format without a hash
RECIPES = Path(__file__).parents[3] / "training" / "recipes"
PROGRESS = Progress(step=7, tokens=12345, seconds=0.1)
numbers = st.floats(0, 1e6)
counts = st.integers(1, 10**6)
ranges = st.tuples(counts, counts).map(lambda pair: (min(pair), max(pair)))
configs = st.builds(
    TrainConfig,
    network=st.builds(NetworkConfig, blocks=counts, scalars=counts, trust_radius=st.floats(0.1, math.inf)),
    proposal=st.none() | st.builds(NetworkConfig, kind=st.just("mixture"), updates=counts),
    stream=st.builds(StreamConfig, dims=ranges, context_sizes=ranges, modes=ranges, fresh=numbers),
    loss=st.builds(LossConfig, alpha=numbers, probed=numbers),
    seed=counts,
    steps=counts,
    learning_rate=numbers,
)


def some_tensors(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "network.a": torch.randn(3, 4, generator=generator),
        "average.a": torch.randn(4, 3, generator=generator, dtype=torch.float64).T,
        "optimizer.step.a": torch.tensor(5.0),
    }


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        assert torch.equal(ours[name], tensor), name


@pytest.fixture
def path(tmp_path) -> Path:
    """A checkpoint on disk, alone in its folder."""
    path = tmp_path / "run" / "checkpoint.safetensors"
    save_checkpoint(path, TrainConfig(), PROGRESS, some_tensors())
    return path


def test_tensors_progress_and_config_come_back(path):
    config, progress, tensors = load_checkpoint(path)
    assert config == TrainConfig()
    assert progress == PROGRESS
    assert_equal(tensors, some_tensors())


@settings(deadline=None, max_examples=30, derandomize=True)
@given(config=configs)
def test_every_config_comes_back_from_json(config):
    assert TrainConfig.from_json(config.to_json()) == config


def test_settings_of_older_versions_are_ignored():
    old = json.loads(TrainConfig().to_json())
    old |= dict.fromkeys(RETIRED, 1)
    old["stream"] |= dict.fromkeys(RETIRED_OF_STREAM, True)
    assert TrainConfig.from_json(json.dumps(old)) == TrainConfig()


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.json")), ids=lambda path: path.name)
def test_every_recipe_is_a_config(recipe):
    assert TrainConfig().updated(recipe.read_text()) != TrainConfig()


def test_an_unusual_config_comes_back_from_a_file(tmp_path, tiny_run):
    network = replace(
        tiny_run.network, taming_radius=math.inf, trust_radius=math.inf, residual_bound=math.inf
    )
    config = replace(tiny_run, network=network)
    save_checkpoint(tmp_path / "c", config, PROGRESS, some_tensors())
    assert load_checkpoint(tmp_path / "c")[0] == config


def test_parameters_are_saved_as_they_stand(tmp_path, make_network):
    network = make_network()
    save_checkpoint(tmp_path / "c", TrainConfig(), PROGRESS, dict(network.named_parameters()))
    assert_equal(load_checkpoint(tmp_path / "c")[2], {k: p.detach() for k, p in network.named_parameters()})


def test_a_save_leaves_one_file_and_replaces_the_old(path):
    save_checkpoint(path, TrainConfig(seed=1), replace(PROGRESS, step=8), some_tensors(1))
    assert list(path.parent.iterdir()) == [path]
    config, progress, tensors = load_checkpoint(path)
    assert (config.seed, progress.step) == (1, 8)
    assert_equal(tensors, some_tensors(1))


class NoRoom(io.FileIO):
    """A file on a full disk."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_save_that_fails_keeps_the_old_file_and_does_not_stop_the_next(monkeypatch, path, failing):
    before = path.read_bytes()

    def fails(*_given: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(files, "FileIO", NoRoom)
        else:
            patch.setattr(os, failing, fails)
        with pytest.raises(CheckpointError, match=r"cannot be written .*(No space left|Input/output error)"):
            save_checkpoint(path, TrainConfig(), PROGRESS, some_tensors(1))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    save_checkpoint(path, TrainConfig(), PROGRESS, some_tensors(1))
    assert_equal(load_checkpoint(path)[2], some_tensors(1))


def test_the_new_file_is_whole_before_it_takes_the_old_ones_place(monkeypatch, path):
    before = path.read_bytes()

    def killed(partial: str, final: Path) -> None:
        assert_equal(load_checkpoint(Path(partial))[2], some_tensors(1))
        assert final == path
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, TrainConfig(), PROGRESS, some_tensors(1))
    assert path.read_bytes() == before


def test_flipped_bits_are_noticed(path):
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 7):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors"):
            load_checkpoint(path)


def test_a_checkpoint_of_the_format_without_hash_is_read(tmp_path):
    metadata = {
        "format": OLD,
        "config": TrainConfig().to_json(),
        "progress": json.dumps(asdict(PROGRESS)),
    }
    tensors = {name: tensor.contiguous() for name, tensor in some_tensors().items()}
    save_file(tensors, tmp_path / "old", metadata)
    config, progress, found = load_checkpoint(tmp_path / "old")
    assert (config, progress) == (TrainConfig(), PROGRESS)
    assert_equal(found, tensors)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


def test_a_folder_without_weights_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)


@pytest.fixture
def folder(tmp_path, released) -> Path:
    """A copy of the folder of a released model."""
    return shutil.copytree(released, tmp_path / "model")


def test_the_folder_of_a_released_model_is_a_checkpoint_of_heads_and_mixture(folder, tiny_run):
    config, progress, tensors = load_checkpoint(folder)
    assert config == tiny_run
    assert progress == Progress(step=20, tokens=12345, seconds=60)
    assert torch.equal(tensors.pop(TENSOR), torch.ones(94, 3))
    saved = {
        f"{prefix}.{name}": tensor
        for prefix, file in (("average", "weights"), ("proposal", "mixture"))
        for name, tensor in load_file(folder / f"{file}.safetensors").items()
    }
    assert_equal(tensors, saved)
    assert load_network(folder).config == tiny_run.network
    assert load_mixture_network(folder).config == tiny_run.proposal


def test_a_folder_without_heads_is_a_checkpoint_of_its_mixture_network(folder, tiny_run):
    for name in ("weights", "adaptation"):
        (folder / f"{name}.safetensors").unlink()
    config, progress, tensors = load_checkpoint(folder)
    assert (config.network, progress.step) == (tiny_run.proposal, 30)
    saved = load_file(folder / "mixture.safetensors")
    assert_equal(tensors, {f"average.{name}": tensor for name, tensor in saved.items()})
    assert isinstance(load_any_network(folder), MixtureNetwork)


def test_a_released_model_may_lack_the_basis_of_adaptation(folder):
    (folder / "adaptation.safetensors").unlink()
    assert TENSOR not in load_checkpoint(folder)[2]


@pytest.mark.parametrize("missing", ["mixture.safetensors", "config.json"])
def test_a_missing_file_of_a_released_model_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "content",
    ["{", "{}", '{"training": {"tokens": 1}, "model": {"training_step": "1"}, "mixture": {"training": {}}}'],
)
def test_a_released_model_whose_config_does_not_fit_is_named(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="another version"):
        load_checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 4, 8, 50, 0.5, 0.999])
def test_a_truncated_file_is_named(path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors"):
        load_checkpoint(path)


def test_a_file_of_another_kind_is_named(path):
    path.write_text("step,loss\n1,0.5\n" * 100)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"format": "discoformer-checkpoint-0"}])
def test_tensors_of_another_project_are_refused_with_what_was_needed(tmp_path, metadata):
    save_file({"network.a": torch.ones(2)}, tmp_path / "foreign", metadata)
    with pytest.raises(CheckpointError, match=FORMAT):
        load_checkpoint(tmp_path / "foreign")


@pytest.mark.parametrize("broken", ["no config", "no progress", "not JSON", "unknown key"])
def test_a_file_whose_metadata_do_not_fit_is_named(tmp_path, broken):
    """As one written by another version would be."""
    config = json.loads(TrainConfig().to_json())
    metadata = {"format": OLD, "config": json.dumps(config), "progress": "{}"}
    match broken:
        case "no config":
            del metadata["config"]
        case "no progress":
            del metadata["progress"]
        case "not JSON":
            metadata["config"] = "{"
        case "unknown key":
            metadata["config"] = json.dumps({**config, "momentum": 0.9})
    save_file({"network.a": torch.ones(2)}, tmp_path / "other", metadata)
    with pytest.raises(CheckpointError, match="other"):
        load_checkpoint(tmp_path / "other")


def test_checkpoint_errors_have_the_base_of_the_package_and_a_builtin():
    assert issubclass(CheckpointError, DiscoformerError)
    assert issubclass(CheckpointError, ValueError)


def test_a_checkpoint_of_one_kind_is_not_one_of_the_other(tmp_path, mixture_file, make_network, tiny_run):
    with pytest.raises(CheckpointError, match="kind 'mixture', needed the kind 'heads'"):
        load_network(mixture_file)
    tensors = {f"average.{name}": p for name, p in make_network(tiny_run.network).named_parameters()}
    save_checkpoint(tmp_path / "old", replace(tiny_run, proposal=None), PROGRESS, tensors)
    with pytest.raises(CheckpointError, match="--mixture-from"):
        load_mixture_network(tmp_path / "old")


def test_prefix_selects_and_is_dropped_once():
    tensors = {"average.average.a": torch.ones(1), "network.a": torch.zeros(1)}
    assert list(with_prefix(tensors, "average.")) == ["average.a"]


def test_load_network_gives_the_averaged_weights_ready_for_use(tmp_path, tiny_run, make_data, read_context):
    torch.manual_seed(0)
    network, average = DiScoFormer(tiny_run.network), DiScoFormer(tiny_run.network)
    tensors = {f"network.{name}": p for name, p in network.named_parameters()}
    tensors |= {f"average.{name}": p + 0.1 for name, p in average.named_parameters()}
    save_checkpoint(tmp_path / "c", tiny_run, PROGRESS, tensors)
    loaded = load_network(tmp_path / "c")
    assert not loaded.training
    assert loaded.config == tiny_run.network
    saved = with_prefix(load_file(tmp_path / "c"), "average.")
    assert_equal({name: p.detach() for name, p in loaded.named_parameters()}, saved)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.add_(0.1)
    context = read_context(make_data(1, 20, 2))[0].each(Tensor.float)
    for ours, theirs in zip(loaded(context, context.points), average(context, context.points), strict=True):
        assert torch.equal(ours, theirs)
