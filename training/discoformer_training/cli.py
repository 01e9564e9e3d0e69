"""The command line of training: `discoformer-train run` and `discoformer-train benchmark`.

Everything heavy is imported inside the commands, so that `--help` needs click alone.
"""

import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from discoformer_training.evaluation.benchmark import Cell, Report
    from discoformer_training.run.config import TrainConfig

PATH = click.Path(path_type=Path)


@click.group()
@click.version_option(package_name="discoformer")
def commands() -> None:
    """Train DiScoFormer networks, and measure them beside what one would use instead."""


def main() -> None:
    """Run the command line, saying what to install when an extra is missing."""
    try:
        commands()
    except ModuleNotFoundError as error:
        extra = "benchmark" if "benchmark" in sys.argv[1:2] else "train"
        sys.exit(f"{error.name} is not installed: pip install 'discoformer[{extra}]'")


@commands.command()
@click.option("--out", type=PATH, required=True, help="Folder of the run: checkpoint and logs.")
@click.option(
    "--config",
    "files",
    type=PATH,
    multiple=True,
    help="JSON file of settings; those absent keep their defaults. Repeatable: the last one counts.",
)
@click.option("--resume", type=PATH, help="Checkpoint to continue from, with its settings.")
@click.option("--weights-from", type=PATH, help="Checkpoint or released model whose weights begin a new run.")
@click.option("--seed", type=int, help="Of the weights and of the stream [default: 0].")
@click.option("--steps", type=int, help="Length of the run [default: 20000].")
@click.option("--learning-rate", type=float, help="Its peak [default: 0.0015].")
@click.option("--dims", nargs=2, type=int, help="Least and greatest dimension [default: 1 100].")
@click.option("--context-sizes", nargs=2, type=int, help="Least and greatest N [default: 8 4096].")
@click.option("--tokens", type=int, help="Context points and queries of a step, about [default: 3072].")
@click.option(
    "--hold-out", "held_out", multiple=True, metavar="FAMILY", help="Never draw this family; repeatable."
)
@click.option("--time-budget", type=float, help="Minutes until the run ends, its learning rate decayed.")
@click.option("--accelerator", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--devices", default=1, show_default=True, help="Number of devices, a process each.")
@click.option("--threads", type=int, help="CPU threads of each process.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Further processes that draw tasks, one thread each: as many as feed a GPU.",
)
def run(
    out: Path,
    files: tuple[Path, ...],
    resume: Path | None,
    weights_from: Path | None,
    time_budget: float | None,
    accelerator: str,
    devices: int,
    threads: int | None,
    workers: int,
    **settings: Any,
) -> None:
    """Train a network on the stream of random densities."""
    import torch
    from lightning.fabric import Fabric

    from discoformer_training.run.checkpoint import CheckpointError, load_checkpoint
    from discoformer_training.run.divergence import TrainingDivergedError
    from discoformer_training.run.loop import train

    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if resume and (given or files or weights_from):
        raise click.UsageError("--resume continues with the settings of the checkpoint: give no others")
    if threads:
        torch.set_num_threads(threads)
    try:
        config = load_checkpoint(resume)[0] if resume else _config(files, given)
        progress = train(
            config,
            out,
            resume=resume,
            weights_from=weights_from,
            time_budget=None if time_budget is None else 60 * time_budget,
            fabric=Fabric(accelerator=accelerator, devices=devices),
            workers=workers,
        )
    except (CheckpointError, TrainingDivergedError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"step {progress.step}, {progress.tokens:,} tokens, {progress.seconds:.0f} s", err=True)


def _config(files: tuple[Path, ...], given: dict[str, Any]) -> "TrainConfig":
    """Read the settings of files, and replace those given on the command line."""
    from discoformer_training.run.config import TrainConfig

    config = TrainConfig()
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
    "--tasks", type=click.IntRange(min=1), default=1920, show_default=True, help="Data sets to learn from."
)
@click.option("--seed", default=0, show_default=True, help="Of the data sets.")
@click.option("--out", type=PATH, help="File to write [default: CHECKPOINT itself].")
def basis(checkpoint: Path, tasks: int, seed: int, out: Path | None) -> None:
    """Learn the directions in which CHECKPOINT adapts, and write it with them.

    CHECKPOINT is a file or the folder of a released model. For a folder, --out is required. Exported models
    have the directions beside their weights. Further training drops them.
    """
    from rich.console import Console
    from rich.progress import track

    from discoformer_training.nn.attention import attend_blocked
    from discoformer_training.run.basis import TENSOR, learn_basis
    from discoformer_training.run.checkpoint import (
        CheckpointError,
        load_checkpoint,
        load_network,
        save_checkpoint,
    )

    if out is None and checkpoint.is_dir():
        raise click.UsageError(f"{checkpoint} is a folder: give the file to write, --out FILE.safetensors")
    try:
        config, progress, tensors = load_checkpoint(checkpoint)
        network = load_network(checkpoint, attend_blocked)
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error
    steps = track(range(tasks), "data sets", console=Console(stderr=True))
    learned = learn_basis(network, steps, seed=seed)
    save_checkpoint(out or checkpoint, config, progress, tensors | {TENSOR: learned.float()})


@commands.command()
@click.argument("model", type=PATH, required=False)
@click.option(
    "--cell", "cells", multiple=True, help="FAMILY:D:N or FAMILY:D:N:MODES, repeatable [default: a table]."
)
@click.option(
    "--cells",
    "table",
    type=click.Choice(["default", "wide", "small"]),
    default="default",
    show_default=True,
    help="The table, where no --cell is given: mixtures, other densities, or samples of some dozen points.",
)
@click.option("--draws", default=32, show_default=True, help="Draws of each cell; a quarter if it is long.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option(
    "--cache",
    type=PATH,
    default=Path("benchmarks/baselines.json"),
    show_default=True,
    help="Where the baselines' results are kept.",
)
@click.option("--out", type=PATH, help="Folder for benchmark.json and benchmark.md as well.")
def benchmark(
    model: Path | None,
    cells: tuple[str, ...],
    table: str,
    draws: int,
    seed: int,
    cache: Path,
    out: Path | None,
) -> None:
    """Measure MODEL, a checkpoint or the folder of a released model, beside the baselines.

    A checkpoint is run by PyTorch, a folder by the ONNX runtime. Without MODEL, the baselines alone.
    """
    from discoformer_training.evaluation import benchmark as bench
    from discoformer_training.evaluation import report as reports
    from discoformer_training.evaluation.estimators import network_estimator, runtime_estimator
    from discoformer_training.nn.attention import attend_blocked
    from discoformer_training.run.checkpoint import CheckpointError, load_network

    try:
        estimators = {}
        if model is not None:
            estimators["discoformer"] = (
                runtime_estimator(model)
                if model.is_dir()
                else network_estimator(load_network(model, attend_blocked))
            )
        chosen = [_parse_cell(cell) for cell in cells] or bench.TABLES[table]()
        report = bench.run_benchmark(
            estimators, chosen, draws=draws, seed=seed, cache=cache, keep=partial(_write_report, out)
        )
    except (bench.BenchmarkError, CheckpointError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(reports.render_text(report))


def _write_report(out: Path | None, report: "Report") -> None:
    """Write what has been measured so far, if there is a folder for it."""
    from discoformer_training.evaluation import report as reports

    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    tables = reports.render_summary(report) + "\n\n" + reports.render_markdown(report)
    (out / "benchmark.md").write_text(tables, encoding="utf-8")
    (out / "benchmark.json").write_text(reports.render_json(report), encoding="utf-8")


def _parse_cell(text: str) -> "Cell":
    """Read FAMILY:D:N or FAMILY:D:N:MODES, with MODES a number or LEAST-MOST."""
    from discoformer_training.evaluation.benchmark import Cell

    match = re.fullmatch(r"(\w+):(\d+):(\d+)(?::(\d+)(?:-(\d+))?)?", text)
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not FAMILY:D:N or FAMILY:D:N:MODES, such as gmm:10:1024 or gmm:100:2048:2"
        )
    family, dim, n, least, most = match.groups()
    if least is None:
        return Cell(family, int(dim), int(n))
    return Cell(family, int(dim), int(n), modes=(int(least), int(most or least)))


if __name__ == "__main__":
    main()
