"""The command line: one module for each kind of command.

The commands share ``options``, ``reading``, ``output`` and ``messages``.
"""

from typing import Any

import click

from discoformer.cli.adapt import adapt
from discoformer.cli.anomalies import anomalies
from discoformer.cli.diagnose import diagnose
from discoformer.cli.entropy import entropy
from discoformer.cli.estimate import estimate
from discoformer.cli.impute import impute
from discoformer.cli.modes import modes
from discoformer.cli.sample import sample
from discoformer.cli.serve import serve
from discoformer.cli.tools import bench, doctor, play
from discoformer.io.streams import standard_streams


class _Commands(click.Group):
    """The commands, whatever streams are closed."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with standard_streams():
            return super().main(*args, **kwargs)


@click.group(cls=_Commands)
@click.version_option(package_name="discoformer")
def main() -> None:
    """Estimate the density of the distribution behind a sample, and its score.

    The score is the gradient of the log-density. The sample, DATA, is a file with one row for each point:
    .csv, .tsv or .txt (also packed as .gz), .npy or .parquet. Columns of text are left out.

    The delimiter (comma, semicolon, tab, blanks), the decimal mark and the header of text files are guessed.
    `discoformer COMMAND --help` describes each command.
    """


for _command in (
    estimate,
    sample,
    modes,
    anomalies,
    impute,
    entropy,
    diagnose,
    adapt,
    bench,
    doctor,
    play,
    serve,
):
    main.add_command(_command)
