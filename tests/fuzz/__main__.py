"""Hostile input, made at random, for a given time: ``python -m tests.fuzz [PART ...] --minutes 10 --seed 0``.

Each part tries one case after another. A case is good if it ends in an error of this package, or in answers
that are what they should be. All others are printed, with the seed that repeats them, and the exit code is 1.
"""

import sys
import time
from collections.abc import Callable

import click

from tests.fuzz import csv_bytes, flips, graphs, http_bodies, samples, saved
from tests.fuzz.common import Report

PARTS: dict[str, Callable[[int, float, int], Report]] = {
    "flips": flips.run,  # single bits of the files of a model and of saved estimates
    "graphs": graphs.run,  # changes of the structure of graphs
    "saved": saved.run,  # changes of the content of saved estimates
    "csv": csv_bytes.run,  # bytes that are read as a table in text
    "samples": samples.run,  # samples with weights, queries and options
    "http": http_bodies.run,  # bodies of requests to the service
}


@click.command(help=__doc__)
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--minutes", type=float, default=1.0, show_default=True, help="Time for all parts together.")
@click.option("--count", type=int, default=10**9, help="Most cases of each part.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(parts: tuple[str, ...], minutes: float, count: int, seed: int) -> None:
    """Run the parts, all by default."""
    failures = 0
    for part in parts or PARTS:
        report = PARTS[part](seed, time.monotonic() + 60 * minutes / len(parts or PARTS), count)
        click.echo(f"{part}: {report}")
        failures += len(report.failures)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
