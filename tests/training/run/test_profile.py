"""The profile of training steps: tokens and times that add up, for both kinds of network."""

import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from lightning.fabric import Fabric

from discoformer_training.cli import commands
from discoformer_training.data.stream import draw_task
from discoformer_training.run.profile import profile


@pytest.mark.parametrize("kind", ["heads", "mixture"])
def test_tokens_are_counted_and_seconds_add_up(tiny_run, proposal, kind):
    propose = proposal if kind == "heads" else None
    config = replace(tiny_run, network=replace(tiny_run.network, kind=kind))
    begin = time.perf_counter()
    of_mixture = propose and propose.network
    found = profile(config, Fabric(accelerator="cpu", devices=1), steps=3, warmup=1, proposal=of_mixture)
    assert 0 < found.drawing + found.learning < time.perf_counter() - begin
    tasks = (draw_task(config.stream, config.seed, k, propose=propose) for k in (1, 2, 3))
    assert found.tokens == sum(task.tokens for task in tasks)
    assert f"{found.tokens_per_second:,.0f} tokens a second" in str(found)


def test_the_command_prints_it_and_writes_nothing(tmp_path, monkeypatch, tiny_run, mixture_file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text(tiny_run.to_json(), encoding="utf-8")
    asked = ["profile", "--config", "run.json", "--steps", "2", "--warmup", "0", "--accelerator", "cpu"]
    refused = CliRunner().invoke(commands, asked)
    assert refused.exit_code == 2
    assert "--mixture-from" in refused.output
    result = CliRunner().invoke(commands, [*asked, "--mixture-from", str(mixture_file)])
    assert result.exit_code == 0, result.output
    assert "2 steps" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
