"""``discoformer bench``, ``doctor`` and ``play``: speed, the installation, a page in the browser."""

import warnings
from pathlib import Path
from typing import Any

import click

from discoformer.cli.shared import device_option, errors_as_messages, model_option, threads_option
from discoformer.errors import DeviceWarning, InputError, RangeWarning, require
from discoformer.model import load


@click.command()
@model_option
@device_option
def doctor(model: str, device: Any) -> None:
    """What is installed, whether it works, and what to do if not.

    Exit codes: 0 when all is well, else 1.
    """
    from discoformer.tools.doctor import examine

    advice = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceWarning)  # found by examine too
        for finding in examine(model, device):
            click.echo(f"{finding.name:12} {finding.value}")
            if finding.advice:
                advice.append(f"{finding.name}: {finding.advice}")
    for line in advice:
        click.echo(f"To do: {line}", err=True)
    if advice:
        raise SystemExit(1)


@click.command()
@model_option
@threads_option
@click.option("--dims", default="2,10,50", show_default=True, help="Dimensions D, comma-separated.")
@click.option(
    "--sizes", default="256,1024,4096,8192,16384", show_default=True, help="Numbers N = M, comma-separated."
)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="The best counts.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for bench.md, .json and .png."
)
def bench(
    model: str, threads: int | None, dims: str, sizes: str, repeats: int, seed: int, out: Path | None
) -> None:
    """Speed and error on the CPU, beside scikit-learn, SciPy and PyTorch where they are installed.

    Times N = M context points and queries in D dimensions, all estimators in turns.
    """
    from discoformer.tools.bench import measure, save_picture, to_json, to_markdown

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
                f"D={timing.dim} N=M={timing.n} {timing.estimator}: read {timing.fit_s:.3g} s, "
                f"answer {timing.query_s:.3g} s",
                err=True,
            )
            if out:  # what is measured is kept
                (out / "bench.md").write_text(to_markdown(timings), encoding="utf-8")
                (out / "bench.json").write_text(to_json(timings), encoding="utf-8")
                save_picture(out / "bench.png", timings)
        click.echo(to_markdown(timings), nl=False)


@click.command()
@model_option
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser, or do not.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the site into this folder, to be hosted anywhere, instead of serving it.",
)
@click.option(
    "--onnxruntime-web",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the files of onnxruntime-web; by default they are fetched once and kept in a cache.",
)
def play(
    model: str, port: int, host: str, browser: bool, out: Path | None, onnxruntime_web: Path | None
) -> None:
    """A page in which the model runs in the browser: draw points, see their density and score.

    Served on this machine until Ctrl-C, or written with --out.
    """
    from discoformer.play.command import play

    with errors_as_messages():
        play(model, host, port, browser, out, onnxruntime_web)


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise InputError(f"{option} must be whole numbers from 1 on, comma-separated, got {text!r}")
    return numbers
