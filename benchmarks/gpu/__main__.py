"""The proof of the model on a GPU: parity, placement, memory, processes, speed. On a CPU it runs, too.

    python -m benchmarks.gpu --device cuda --out docs/gpu
    python -m benchmarks.gpu --device cpu --small

It prints a table, row by row, and writes it to --out as gpu.json and gpu.md after each row. Each section is a
process of its own with a limit of time. If one fails, its error is a row, and the others go on. Rows with a
requirement say whether it is met. The exit code is 1 if one is not.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import NamedTuple

import click

from benchmarks.common.report import load_model, markdown, model_option, out_option, write
from benchmarks.gpu import parity, running, speed
from benchmarks.gpu.files import Device, Figures, Section, Setting
from discoformer_training.evaluation.metrics import six_digits

SECTIONS: dict[str, tuple[Section, int]] = {  # in this order, with the most seconds that each may take
    "machine": (running.machine, 30),
    "golden": (parity.golden, 40),
    "placement": (running.placement, 40),
    "triples": (parity.triples, 120),
    "batches": (parity.batches, 40),
    "answers": (parity.answers, 40),
    "speed": (speed.speed, 90),
    "chunks": (speed.chunks, 30),
    "particles": (speed.particles, 30),
    "first call": (running.first_call, 60),
    "processes": (running.processes, 40),
    "memory": (running.memory, 60),
}
HEADER = ("section", "case", "measured", "passed")
WORDS = {True: "yes", False: "NO", None: ""}


class Row(NamedTuple):
    """One measurement."""

    section: str
    case: str
    figures: Figures
    passed: bool | None = None  # None if nothing is required


@dataclass
class Table:
    """The rows so far, which are printed and written as they come."""

    model: str
    title: str
    out: Path | None
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)
        click.echo(f"| {' | '.join(_cells(row))} |")
        if self.out is not None:
            text = f"{self.title}\n\n{markdown(HEADER, map(_cells, self.rows))}\n"
            results = [{**row._asdict(), "figures": _rounded(row)} for row in self.rows]
            write(self.out, "gpu", load_model(self.model), 0, text, results)


def _rounded(row: Row) -> Figures:
    return {
        name: six_digits(value) if isinstance(value, float) else value for name, value in row.figures.items()
    }


def _cells(row: Row) -> tuple[str, ...]:
    figures = (
        f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.figures.items()
    )
    return row.section, row.case, "; ".join(figures), WORDS[row.passed]


def guarded(name: str, setting: Setting) -> Iterator[Row]:
    """Yield the rows of a section; the error of a case is its row, and others go on."""
    try:
        for case, measure in SECTIONS[name][0](setting):
            try:
                yield Row(name, case, *measure())
            except Exception as error:
                yield failure(name, case, f"{type(error).__name__}: {error}")
    except Exception as error:
        yield failure(name, "failed", f"{type(error).__name__}: {error}")


def failure(name: str, case: str, text: str) -> Row:
    """Return the row of a case that failed."""
    return Row(name, case, {"error": " ".join(text.split()).replace("|", "/")[-300:]}, False)


def isolated(name: str, setting: Setting) -> Iterator[Row]:
    """Yield the rows of a section as they come; it runs in a process of its own, for a limit of seconds."""
    limit = SECTIONS[name][1]
    command = [sys.executable, "-m", "benchmarks.gpu", "--one", name, "--model", setting.model]
    command += ["--device", setting.device, *(["--small"] if setting.small else [])]
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        timer = Timer(limit, process.kill)
        timer.start()
        for line in process.stdout or ():
            yield Row(*json.loads(line))
        timer.cancel()
        if code := process.wait():
            errors.seek(0)
            yield failure(name, "failed", f"exit code {code}, within {limit} s: {errors.read()}")


def title(setting: Setting, only: Sequence[str]) -> str:
    """Return what the table is, with the command that made it."""
    options = f"--model {setting.model} --device {setting.device}{' --small' if setting.small else ''}"
    options += "".join(f" --only '{name}'" for name in only)
    return f"# The model on {setting.device.upper()}\n\n`python -m benchmarks.gpu {options}`"


@click.command(help=__doc__)
@model_option
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True)
@click.option("--small", is_flag=True, help="Few and small cases.")
@click.option("--only", multiple=True, type=click.Choice([*SECTIONS]), help="A section. Repeatable.")
@click.option("--one", type=click.Choice([*SECTIONS]), hidden=True, help="Print its rows as JSON.")
@out_option
def main(
    name: str, device: Device, small: bool, only: tuple[str, ...], one: str | None, out: Path | None
) -> None:
    """Run the sections."""
    setting = Setting(name, device, small)
    if one is not None:
        lines = sys.stdout
        with redirect_stdout(sys.stderr):  # libraries print to it, too
            for row in guarded(one, setting):
                print(json.dumps(row), file=lines, flush=True)
        return
    table = Table(name, title(setting, only), out)
    click.echo(markdown(HEADER, []))
    for section in only or SECTIONS:
        for row in isolated(section, setting):
            table.add(row)
    sys.exit(any(row.passed is False for row in table.rows))


if __name__ == "__main__":
    main()
