"""Where a run starts from: a mixture network below its heads, and the weights of other runs."""

from dataclasses import asdict, replace

import pytest
import torch

from discoformer_training.nn.config import CONSTANTS
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.run.checkpoint import (
    CheckpointError,
    Progress,
    load_checkpoint,
    save_checkpoint,
    with_prefix,
)
from discoformer_training.run.config import TrainConfig
from discoformer_training.run.loop import CHECKPOINT, train

pytestmark = pytest.mark.slow


def test_heads_need_a_mixture_network_and_keep_it(
    tmp_path, tiny_run, start, mixture_file, make_mixture_network
):
    bare = replace(tiny_run, proposal=None, steps=1)
    with pytest.raises(CheckpointError, match="--mixture-from"):
        train(bare, tmp_path / "none")
    start(bare, tmp_path / "first")
    train(bare, tmp_path / "second", weights_from=tmp_path / "first" / CHECKPOINT)
    network = with_prefix(load_checkpoint(mixture_file)[2], "average.")
    for run in ("first", "second"):
        config, _, tensors = load_checkpoint(tmp_path / run / CHECKPOINT)
        assert config == replace(tiny_run, steps=1)
        kept = with_prefix(tensors, "proposal.")
        assert kept.keys() == network.keys()
        assert all(torch.equal(kept[name], tensor) for name, tensor in network.items())
    other = make_mixture_network().float()
    tensors = {f"average.{name}": tensor for name, tensor in other.state_dict().items()}
    save_checkpoint(tmp_path / "other", TrainConfig(network=other.config), Progress(), tensors)
    train(
        bare,
        tmp_path / "third",
        weights_from=tmp_path / "first" / CHECKPOINT,
        mixture_from=tmp_path / "other",
    )
    config, _, tensors = load_checkpoint(tmp_path / "third" / CHECKPOINT)
    assert config.proposal == other.config
    assert torch.equal(tensors["proposal.broad.read.bias"], other.broad.read.bias)


def test_heads_cannot_refine_heads_without_a_mixture_network(tmp_path, tiny_run):
    tensors = {f"average.{name}": p for name, p in DiScoFormer(tiny_run.network).named_parameters()}
    save_checkpoint(tmp_path / "old", replace(tiny_run, proposal=None), Progress(), tensors)
    with pytest.raises(CheckpointError, match="holds no mixture network"):
        train(tiny_run, tmp_path / "new", weights_from=tmp_path / "old")


def test_a_new_run_may_begin_with_the_averaged_weights_of_another(tmp_path, tiny_run, start):
    """Nothing else of it is kept: progress and optimizer are new. At a rate of 0 the weights stay."""
    start(replace(tiny_run, steps=5), tmp_path / "old")
    config = replace(tiny_run, seed=8, learning_rate=0.0)
    progress = train(config, tmp_path / "new", weights_from=tmp_path / "old" / CHECKPOINT, stop_at=2)
    assert progress.step == 2
    old, new = (load_checkpoint(tmp_path / run / CHECKPOINT)[2] for run in ("old", "new"))
    for name in (name.removeprefix("average.") for name in old if name.startswith("average.")):
        assert torch.equal(new[f"network.{name}"], old[f"average.{name}"]), name
        torch.testing.assert_close(new[f"average.{name}"], old[f"average.{name}"])
    steps = [value.item() for key, value in new.items() if key.startswith("optimizer.step.")]
    assert set(steps) == {2.0}


@pytest.mark.parametrize("way", ["resume", "weights_from"])
def test_starting_from_what_is_no_checkpoint_is_an_error(tmp_path, tiny_run, way):
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(CheckpointError, match="junk"):
        train(tiny_run, tmp_path / "run", **{way: tmp_path / "junk"})


@pytest.mark.parametrize("way", ["resume", "weights_from"])
@pytest.mark.parametrize("change", [{"scalars": 8}, {"blocks": 2}, {"hidden": 80}])
def test_starting_from_the_checkpoint_of_another_network_is_an_error(tmp_path, tiny_run, change, way, start):
    start(replace(tiny_run, steps=1), tmp_path / "old")
    other = replace(tiny_run, network=replace(tiny_run.network, **change))
    with pytest.raises(CheckpointError, match="remove `network` from --config") as caught:
        train(other, tmp_path / "new", **{way: tmp_path / "old" / CHECKPOINT})
    for name in asdict(tiny_run.network):
        assert (f"{name} " in str(caught.value)) == (name in change)


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_new_run_may_change_the_constants_of_a_network_and_a_resumed_run_may_not(
    tmp_path, tiny_run, name, start
):
    start(replace(tiny_run, steps=1), tmp_path / "old")
    other = replace(tiny_run, network=replace(tiny_run.network, **{name: 3.0}))
    assert train(other, tmp_path / "new", weights_from=tmp_path / "old" / CHECKPOINT, stop_at=1).step == 1
    assert getattr(load_checkpoint(tmp_path / "new" / CHECKPOINT)[0].network, name) == 3
    with pytest.raises(CheckpointError, match=f"{name} 3.0"):
        train(other, tmp_path / "new", resume=tmp_path / "old" / CHECKPOINT)


def test_a_released_model_starts_a_run_and_resumes_none(tmp_path, tiny_run, released):
    """Its folder holds averaged weights only."""
    assert train(tiny_run, tmp_path / "new", weights_from=released, stop_at=1).step == 1
    with pytest.raises(CheckpointError, match="--weights-from"):
        train(tiny_run, tmp_path / "old", resume=released)
