"""The command line, one module for each kind of command; ``shared`` says what they have in common."""

import click

from discoformer.cli.anomalies import anomalies
from discoformer.cli.entropy import entropy
from discoformer.cli.estimate import estimate
from discoformer.cli.tools import bench, doctor, play


@click.group()
@click.version_option(package_name="discoformer")
def main() -> None:
    """Density and score of the distribution behind a sample."""


for _command in (estimate, anomalies, entropy, bench, doctor, play):
    main.add_command(_command)
