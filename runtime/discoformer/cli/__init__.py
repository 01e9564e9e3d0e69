"""The command line, one module for each kind of command; ``shared`` says what they have in common."""

import click

from discoformer.cli.adapt import adapt
from discoformer.cli.anomalies import anomalies
from discoformer.cli.diagnose import diagnose
from discoformer.cli.entropy import entropy
from discoformer.cli.estimate import estimate
from discoformer.cli.impute import impute
from discoformer.cli.modes import modes
from discoformer.cli.sample import sample
from discoformer.cli.tools import bench, doctor, play


@click.group()
@click.version_option(package_name="discoformer")
def main() -> None:
    """Density and score of the distribution behind a sample."""


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
):
    main.add_command(_command)
