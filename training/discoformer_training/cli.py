"""The command line of training: `discoformer-train run` and `discoformer-train benchmark`.

Everything heavy is imported inside the commands, so that `--help` needs click alone.
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from discoformer_training.benchmark import Cell


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
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run: checkpoint and logs."
)
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Checkpoint to continue from, with its configuration."
)
@click.option(
    "--weights-from", type=click.Path(path_type=Path), help="Checkpoint whose weights a new run begins with."
)
@click.option("--seed", default=0, show_default=True, help="Of the weights and of the stream.")
@click.option("--steps", default=20_000, show_default=True, help="Length of the run.")
@click.option("--learning-rate", default=1.5e-3, show_default=True, help="Peak of the learning rate.")
@click.option(
    "--dims", nargs=2, type=int, default=(1, 100), show_default=True, help="Least and greatest dimension."
)
@click.option(
    "--context-sizes", nargs=2, type=int, default=(32, 2048), show_default=True, help="Least and greatest N."
)
@click.option(
    "--tokens", default=3072, show_default=True, help="Context points and queries of a step, about."
)
@click.option("--kde-bandwidth", type=float, help="Start as a KDE of this bandwidth in the frame.")
@click.option(
    "--time-budget", type=float, help="Minutes after which the run ends, its learning rate decayed."
)
@click.option("--accelerator", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--devices", default="auto", show_default=True, help="Number of devices (processes).")
@click.option("--threads", type=int, help="CPU threads of each process.")
def run(
    out: Path,
    resume: Path | None,
    weights_from: Path | None,
    seed: int,
    steps: int,
    learning_rate: float,
    dims: tuple[int, int],
    context_sizes: tuple[int, int],
    tokens: int,
    kde_bandwidth: float | None,
    time_budget: float | None,
    accelerator: str,
    devices: str,
    threads: int | None,
) -> None:
    """Train a network on the stream of mixtures."""
    import torch
    from lightning.fabric import Fabric

    from discoformer_training.checkpoint import CheckpointError, load_checkpoint
    from discoformer_training.config import TrainConfig
    from discoformer_training.stream import StreamConfig
    from discoformer_training.train import train
    from discoformer_training.trainer import TrainingDivergedError

    if threads:
        torch.set_num_threads(threads)
    n_devices = int(devices) if devices.isdecimal() else 1 if accelerator == "cpu" else devices
    fabric = Fabric(accelerator=accelerator, devices=n_devices)
    try:
        if resume is not None:
            config = load_checkpoint(resume)[0]
        else:
            config = TrainConfig(
                stream=StreamConfig(dims=dims, context_sizes=context_sizes, tokens=tokens),
                seed=seed,
                steps=steps,
                learning_rate=learning_rate,
                kde_bandwidth=kde_bandwidth,
            )
        progress = train(
            config,
            out,
            resume=resume,
            weights_from=weights_from,
            time_budget=None if time_budget is None else 60 * time_budget,
            fabric=fabric,
        )
    except (CheckpointError, TrainingDivergedError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"step {progress.step}, {progress.tokens:,} tokens, {progress.seconds:.0f} s", err=True)


@commands.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "--cell", "cells", multiple=True, help="FAMILY:D:N or FAMILY:D:N:MODES, repeatable [default: the table]."
)
@click.option("--draws", default=32, show_default=True, help="Draws of each cell.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("benchmarks/baselines.json"),
    show_default=True,
    help="Where the baselines' results are kept.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "summary", "markdown", "json"]),
    default="text",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write to instead of standard output.")
def benchmark(
    model: Path | None,
    cells: tuple[str, ...],
    draws: int,
    seed: int,
    cache: Path,
    style: str,
    out: Path | None,
) -> None:
    """Measure MODEL, a checkpoint or the folder of a released model, beside the baselines.

    A checkpoint is run by PyTorch, a folder by the ONNX runtime. Without MODEL, the baselines alone.
    """
    from discoformer_training import benchmark as bench
    from discoformer_training import report as reports
    from discoformer_training.checkpoint import CheckpointError, load_network
    from discoformer_training.estimator import network_estimator, runtime_estimator

    try:
        estimators = {}
        if model is not None:
            estimators["discoformer"] = (
                runtime_estimator(model) if model.is_dir() else network_estimator(load_network(model))
            )
        chosen = [_parse_cell(cell) for cell in cells] or bench.default_cells()
        report = bench.run_benchmark(estimators, chosen, draws=draws, seed=seed, cache=cache)
    except (bench.BenchmarkError, CheckpointError) as error:
        raise click.ClickException(str(error)) from error
    text = getattr(reports, f"render_{style}")(report)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text, encoding="utf-8")


def _parse_cell(text: str) -> "Cell":
    """Read FAMILY:D:N or FAMILY:D:N:MODES, with MODES a number or LEAST-MOST."""
    from discoformer_training.benchmark import Cell

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
