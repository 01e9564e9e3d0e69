"""The command line of the export: `discoformer-export`."""

import sys
from pathlib import Path

import click

from discoformer.io.streams import standard_streams


@click.command()
@click.version_option(package_name="discoformer")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the model, such as models/base."
)
@click.option("--name", help="Name of the model [default: the released model's, or the folder's].")
@click.option("--model-version", help="Version of the model [default: the released model's, or 1].")
@click.option("--licence", help="SPDX identifier [default: the released model's, or MIT].")
@click.option(
    "--commit", help="Commit of the code that trained it [default: the released model's, or unknown]."
)
@click.option(
    "--only", multiple=True, metavar="FILE", help="Write only this file and config.json. Repeatable."
)
def export(
    checkpoint: Path,
    out: Path,
    name: str | None,
    model_version: str | None,
    licence: str | None,
    commit: str | None,
    only: tuple[str, ...],
) -> None:
    """Write the model folder of CHECKPOINT, a file of discoformer-train or a released folder.

    Of a mixture network (effort "fast") it writes mixture.onnx, discoformer.onnx, mixture.safetensors,
    mixture_parity.json and config.json. Of heads, which refine that network (effort "best"), it writes
    encode.onnx, query.onnx, weights.safetensors, adaptation.safetensors (if the checkpoint has the basis of
    adaptation), parity.json and config.json. Export the mixture network first, to the same folder. A released
    folder stands for its heads, or for its mixture network if --only names files of that alone. Writes
    nothing if a graph differs from PyTorch.
    """
    from discoformer.errors import DiscoformerError
    from discoformer_export.files.model_folder import release

    try:
        report = release(
            checkpoint,
            out,
            name=name,
            version=model_version,
            licence=licence,
            commit=commit,
            only=only,
            on_progress=lambda line: click.echo(line, err=True),
        )
    except DiscoformerError as error:
        raise click.ClickException(str(error)) from error
    worst = max((parity.onnx_error for parity in report), default=0.0)
    click.echo(f"{out}: {len(report)} cases, largest error {worst:.1e}", err=True)


def main() -> None:
    """Run the command line. If a package is missing, say what to install."""
    try:
        with standard_streams():
            export()
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install '.[export]' in the source of discoformer")


if __name__ == "__main__":
    main()
