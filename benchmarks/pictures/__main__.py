"""Draw the pictures of the documentation site.

python -m benchmarks.pictures                 # all of them
python -m benchmarks.pictures frame mixture   # some of them
"""

from collections.abc import Callable
from pathlib import Path

import click
from matplotlib.figure import Figure

from benchmarks.pictures import guides, inside
from benchmarks.pictures.drawing import save

PICTURES: dict[str, Callable[[], Figure]] = {
    function.__name__: function
    for function in (
        guides.densities,
        guides.anomalies,
        guides.sampling,
        guides.particles,
        guides.posteriors,
        guides.information,
        guides.imputation,
        guides.tables,
        inside.pipeline,
        inside.frame,
        inside.kernels,
        inside.mixture,
        inside.heads,
        inside.adaptation,
        inside.stream,
        inside.runtimes,
    )
}


@click.command()
@click.argument("names", type=click.Choice(list(PICTURES)), nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="docs/pictures")
def main(names: tuple[str, ...], out: Path) -> None:
    """Draw the pictures NAMES, by default all, into the folder --out."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        save(PICTURES[name](), out / f"{name}.png")
        click.echo(out / f"{name}.png")


if __name__ == "__main__":
    main()
