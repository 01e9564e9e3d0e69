"""``discoformer bench``, ``doctor`` and ``play``: measure speed, check the installation, open a page."""

import warnings
from pathlib import Path
from typing import Any

import click

from discoformer.cli.messages import errors_as_messages
from discoformer.cli.options import (
    EXIT_CODES,
    device_option,
    host_option,
    model_option,
    port_option,
    seed_option,
    threads_option,
)
from discoformer.errors import DeviceWarning, InputError, RangeWarning, require
from discoformer.model import load


@click.command()
@model_option
@device_option
def doctor(model: str, device: Any) -> None:
    """Check the installation, and say how to fix problems.

    Exit codes: 0 no problems, 1 problems found, 2 wrong usage.
    """
    from discoformer.tools.doctor import examine

    advice = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)  # examine reports these
        for finding in examine(model, device):
            click.echo(f"{finding.name:12} {finding.value}")
            if finding.advice:
                advice.append(f"{finding.name}: {finding.advice}")
    for line in advice:
        click.echo(f"To do: {line}", err=True)
    if advice:
        raise SystemExit(1)


@click.command(epilog=EXIT_CODES)
@model_option
@threads_option
@click.option(
    "--dims", default="2,10,50", show_default=True, help="Numbers of columns D, separated by commas."
)
@click.option(
    "--sizes",
    default="256,1024,4096,8192,16384",
    show_default=True,
    help="Numbers of rows N of the sample, separated by commas. There are as many queries, M = N.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of measurements. The shortest time counts.",
)
@seed_option("Random seed of the samples and queries.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for bench.md, bench.json and bench.png.",
)
def bench(
    model: str, threads: int | None, dims: str, sizes: str, repeats: int, seed: int, out: Path | None
) -> None:
    """Compare speed and error on the CPU with other methods.

    The other methods are KDE in scikit-learn and SciPy, and the same network in PyTorch, as far as these
    packages are installed. All methods get the same samples and queries, and are measured in turns.
    """
    from discoformer.tools.bench import measure
    from discoformer.tools.bench_report import save_report, to_markdown

    with errors_as_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        if out:
            require("matplotlib")
            out.mkdir(parents=True, exist_ok=True)
        timings = []
        for timing in measure(
            load(model, "cpu", threads), _numbers("--dims", dims), _numbers("--sizes", sizes), repeats, seed
        ):
            timings.append(timing)
            click.echo(
                f"D={timing.dim}, N=M={timing.n}, {timing.estimator}: {timing.fit_s:.3g} s to read the "
                f"sample, {timing.query_s:.3g} s to answer the queries",
                err=True,
            )
            if out:  # after each measurement, so that an interrupted run keeps its results
                save_report(out, timings)
        click.echo(to_markdown(timings), nl=False)


@click.command(epilog=EXIT_CODES)
@model_option
@host_option
@port_option
@click.option("--browser/--no-browser", default=True, help="Whether to open the page in a browser.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the page into this folder, from which any web server can serve it, and exit.",
)
@click.option(
    "--onnxruntime-web",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the files of onnxruntime-web. By default they are downloaded once and cached.",
)
def play(
    model: str, port: int, host: str, browser: bool, out: Path | None, onnxruntime_web: Path | None
) -> None:
    """Open a page to try the model in the browser.

    Draw points on the page, and see their density and score. The model runs in the browser, and no data leave
    this machine. The page is served until Ctrl-C.
    """
    from discoformer.play.command import play

    with errors_as_messages():
        play(model, host, port, browser, out, onnxruntime_web)


def _numbers(option: str, text: str) -> list[int]:
    """Return the numbers in the value of an option."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise InputError(f"{option} must be whole numbers of 1 or more, separated by commas, got {text!r}")
    return numbers
