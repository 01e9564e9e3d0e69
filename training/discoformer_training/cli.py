"""The command line of training: `discoformer-train run`, `profile`, `basis` and `benchmark`.

Large packages are imported inside the commands, so that `--help` needs click only.
"""

import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from discoformer.io.streams import standard_streams

if TYPE_CHECKING:
    from discoformer_training.evaluation.benchmark import Report
    from discoformer_training.evaluation.cells import Cell
    from discoformer_training.run.checkpoint import Progress
    from discoformer_training.run.config import TrainConfig

PATH = click.Path(path_type=Path)


@click.group()
@click.version_option(package_name="discoformer")
def commands() -> None:
    """Train DiScoFormer networks, and compare them with classical density estimators."""


def main() -> None:
    """Run the command line. If a package is missing, say which extra to install."""
    try:
        with standard_streams():
            commands()
    except ModuleNotFoundError as error:
        extra = "benchmark" if "benchmark" in sys.argv[1:2] else "train"
        sys.exit(f"{error.name} is not installed: pip install '.[{extra}]' in the source of discoformer")


@commands.command()
@click.option("--out", type=PATH, required=True, help="Folder of the run, for checkpoint and logs.")
@click.option(
    "--config",
    "files",
    type=PATH,
    multiple=True,
    help="JSON file of settings. Missing settings keep their defaults. Repeatable: later files override.",
)
@click.option("--resume", type=PATH, help="Checkpoint to continue from. Its settings are used.")
@click.option(
    "--weights-from",
    type=PATH,
    help="Checkpoint or released model whose weights start a new run. The sizes of the network are those of "
    "the checkpoint.",
)
@click.option(
    "--mixture-from",
    type=PATH,
    help="Checkpoint of the mixture network that the heads refine [default: that of --weights-from].",
)
@click.option("--seed", type=int, help="Seed of the weights and of the stream [default: 0].")
@click.option("--steps", type=int, help="Number of steps [default: 20000].")
@click.option("--learning-rate", type=float, help="Peak learning rate [default: 0.0015].")
@click.option("--dims", nargs=2, type=int, help="Least and greatest dimension D [default: 1 100].")
@click.option(
    "--context-sizes", nargs=2, type=int, help="Least and greatest context size N [default: 8 4096]."
)
@click.option(
    "--tokens", type=int, help="Approximate number of context points and queries per step [default: 3072]."
)
@click.option(
    "--hold-out", "held_out", multiple=True, metavar="FAMILY", help="Family that is never drawn. Repeatable."
)
@click.option(
    "--time-budget", type=float, help="Minutes until the run ends. The learning rate decays by then."
)
@click.option("--accelerator", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--devices", default=1, show_default=True, help="Number of devices, with one process each.")
@click.option("--threads", type=int, help="CPU threads per process.")
def run(
    out: Path,
    files: tuple[Path, ...],
    resume: Path | None,
    weights_from: Path | None,
    mixture_from: Path | None,
    time_budget: float | None,
    accelerator: str,
    devices: int,
    threads: int | None,
    **settings: Any,
) -> None:
    """Train a network on the stream of random densities."""
    import torch
    from lightning.fabric import Fabric

    from discoformer_training.nn.config import NetworkConfig
    from discoformer_training.run.checkpoint import CheckpointError, load_checkpoint
    from discoformer_training.run.config import TrainConfig
    from discoformer_training.run.divergence import TrainingDivergedError
    from discoformer_training.run.loop import train

    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if resume and (given or files or weights_from or mixture_from):
        raise click.UsageError("--resume uses the settings of the checkpoint: remove the other settings")
    if threads:
        torch.set_num_threads(threads)
    try:
        if resume:
            config, start, _ = load_checkpoint(resume)
            _tell_if_nothing_is_left(resume, start, config.steps, time_budget)
        else:
            network = load_checkpoint(weights_from)[0].network if weights_from else NetworkConfig()
            config = _config(TrainConfig(network=network), files, given)
        progress = train(
            config,
            out,
            resume=resume,
            weights_from=weights_from,
            mixture_from=mixture_from,
            time_budget=None if time_budget is None else 60 * time_budget,
            fabric=Fabric(accelerator=accelerator, devices=devices),
        )
    except (CheckpointError, TrainingDivergedError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"step {progress.step}, {progress.tokens:,} tokens, {progress.seconds:.0f} s", err=True)


def _tell_if_nothing_is_left(resume: Path, start: "Progress", steps: int, minutes: float | None) -> None:
    """Say so if a run has no steps or no time left."""
    if start.step >= steps or (minutes is not None and start.seconds >= 60 * minutes):
        budget = "" if minutes is None else f", after {start.seconds / 60:.3g} of {minutes:g} minutes"
        click.echo(
            f"{resume} is at step {start.step} of {steps}{budget}: nothing is left to train. Give a greater "
            "--time-budget, or start a new run with --weights-from.",
            err=True,
        )


@commands.command("profile")
@click.option(
    "--config", "files", type=PATH, multiple=True, help="JSON file of settings, as for `run`. Repeatable."
)
@click.option("--steps", type=click.IntRange(min=1), default=40, show_default=True, help="Steps to time.")
@click.option(
    "--warmup", type=click.IntRange(min=0), default=5, show_default=True, help="Steps before these."
)
@click.option("--accelerator", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--threads", type=int, help="CPU threads.")
@click.option("--mixture-from", type=PATH, help="Mixture network that the heads refine, as for `run`.")
def profile_command(
    files: tuple[Path, ...],
    steps: int,
    warmup: int,
    accelerator: str,
    threads: int | None,
    mixture_from: Path | None,
) -> None:
    """Time training steps: tokens a second, and the shares of drawing and learning. Writes nothing."""
    import torch
    from lightning.fabric import Fabric

    from discoformer_training.nn.attention import attend_blocked
    from discoformer_training.run.checkpoint import CheckpointError, load_mixture_network
    from discoformer_training.run.config import TrainConfig
    from discoformer_training.run.profile import profile

    if threads:
        torch.set_num_threads(threads)
    config = _config(TrainConfig(), files, {})
    if config.network.kind == "heads" and mixture_from is None:
        raise click.UsageError("heads refine a mixture network: give a checkpoint of one with --mixture-from")
    try:
        proposal = load_mixture_network(mixture_from, attend_blocked) if mixture_from else None
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error
    click.echo(profile(config, Fabric(accelerator=accelerator, devices=1), steps, warmup, proposal))


def _config(config: "TrainConfig", files: tuple[Path, ...], given: dict[str, Any]) -> "TrainConfig":
    """Apply the settings of files, then those of the command line."""
    for file in files:
        try:
            config = config.updated(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise click.ClickException(f"--config {file} cannot be used: {error}") from error
    of_stream = {name: given.pop(name) for name in ("dims", "context_sizes", "tokens") if name in given}
    shares = config.stream.families | dict.fromkeys(given.pop("held_out", ()), 0.0)
    try:
        return replace(config, stream=replace(config.stream, families=shares, **of_stream), **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@commands.command()
@click.argument("checkpoint", type=PATH)
@click.option(
    "--tasks",
    type=click.IntRange(min=1),
    default=1920,
    show_default=True,
    help="Number of data sets to learn from.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the data sets.")
@click.option("--out", type=PATH, help="File to write [default: CHECKPOINT itself].")
def basis(checkpoint: Path, tasks: int, seed: int, out: Path | None) -> None:
    """Learn directions for adaptation from CHECKPOINT.

    Writes CHECKPOINT again, with the directions in which it may adapt. CHECKPOINT is a file or the folder of
    a released model. For a folder, --out is required. Exported models have the directions beside their
    weights. Further training drops them.
    """
    from rich.console import Console
    from rich.progress import track

    from discoformer_training.nn.attention import attend_blocked
    from discoformer_training.nn.proposal import Proposal
    from discoformer_training.run.basis import TENSOR, learn_basis
    from discoformer_training.run.checkpoint import (
        CheckpointError,
        load_checkpoint,
        load_mixture_network,
        load_network,
        save_checkpoint,
    )

    if out is None and checkpoint.is_dir():
        raise click.UsageError(f"{checkpoint} is a folder: give the file to write, --out FILE.safetensors")
    try:
        config, progress, tensors = load_checkpoint(checkpoint)
        network = load_network(checkpoint, attend_blocked)
        propose = Proposal(load_mixture_network(checkpoint, attend_blocked))
        steps = track(range(tasks), "data sets", console=Console(stderr=True))
        learned = learn_basis(network, steps, propose, seed=seed)
        save_checkpoint(out or checkpoint, config, progress, tensors | {TENSOR: learned.float()})
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error


@commands.command()
@click.argument("model", type=PATH, required=False)
@click.option(
    "--cell",
    "cells",
    multiple=True,
    help="FAMILY:D:N or FAMILY:D:N:MODES. Repeatable [default: those of --cells].",
)
@click.option(
    "--cells",
    "table",
    type=click.Choice(["default", "wide", "small", "tables"]),
    default="default",
    show_default=True,
    help="Cells to measure without --cell: mixtures, other densities, samples of 8 to 24 points, or "
    "densities like real tables.",
)
@click.option("--draws", default=32, show_default=True, help="Draws per cell; a quarter for N >= 16384.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option(
    "--cache",
    type=PATH,
    default=Path("benchmarks/baselines.json"),
    show_default=True,
    help="File of the results of baselines, read and updated.",
)
@click.option("--out", type=PATH, help="Folder for benchmark.json and benchmark.md.")
def benchmark(
    model: Path | None,
    cells: tuple[str, ...],
    table: str,
    draws: int,
    seed: int,
    cache: Path,
    out: Path | None,
) -> None:
    """Compare MODEL with classical estimators.

    MODEL is a checkpoint or the folder of a released model. A checkpoint runs in PyTorch, a released model in
    ONNX Runtime, with both efforts. Without MODEL, only the baselines run.
    """
    from discoformer_training.evaluation import report as reports
    from discoformer_training.evaluation.benchmark import run_benchmark
    from discoformer_training.evaluation.cells import TABLES, BenchmarkError
    from discoformer_training.evaluation.estimators import checkpoint_estimator, runtime_estimator
    from discoformer_training.run.checkpoint import CheckpointError

    try:
        estimators = {}
        if model is not None and model.is_dir():
            estimators = {"discoformer": runtime_estimator(model), "fast": runtime_estimator(model, "fast")}
        elif model is not None:
            estimators = {"discoformer": checkpoint_estimator(model)}
        chosen = [_parse_cell(cell) for cell in cells] or TABLES[table]()
        report = run_benchmark(
            estimators, chosen, draws=draws, seed=seed, cache=cache, keep=partial(_write_report, out)
        )
    except (BenchmarkError, CheckpointError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(reports.render_text(report))


def _write_report(out: Path | None, report: "Report") -> None:
    """Write the report so far, if a folder is given."""
    from discoformer.io.files import write_bytes
    from discoformer_training.evaluation import report as reports

    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    tables = reports.render_summary(report) + "\n\n" + reports.render_markdown(report)
    write_bytes(out / "benchmark.md", tables.encode())
    write_bytes(out / "benchmark.json", reports.render_json(report).encode())


def _parse_cell(text: str) -> "Cell":
    """Parse FAMILY:D:N or FAMILY:D:N:MODES, where MODES is a number or LEAST-MOST."""
    from discoformer_training.evaluation.cells import Cell

    match = re.fullmatch(r"(\w+):(\d+):(\d+)(?::(\d+)(?:-(\d+))?)?", text)
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not FAMILY:D:N or FAMILY:D:N:MODES; give for example gmm:10:1024 or gmm:100:2048:2"
        )
    family, dim, n, least, most = match.groups()
    if least is None:
        return Cell(family, int(dim), int(n))
    return Cell(family, int(dim), int(n), modes=(int(least), int(most or least)))


if __name__ == "__main__":
    main()
