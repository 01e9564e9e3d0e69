"""The command line of the export: `discoformer-export`."""

import sys
from pathlib import Path

import click


@click.command()
@click.version_option(package_name="discoformer")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the model, such as models/gmm."
)
@click.option("--name", help="Name of the model [default: the folder's].")
@click.option("--model-version", default="1", show_default=True, help="Version of the model.")
@click.option("--licence", default="MIT", show_default=True)
@click.option("--commit", default="unknown", show_default=True, help="Commit of the code that trained it.")
def export(
    checkpoint: Path, out: Path, name: str | None, model_version: str, licence: str, commit: str
) -> None:
    """Turn a CHECKPOINT into the folder of a released model.

    Writes encode.onnx, query.onnx, core.onnx, weights.safetensors, config.json and parity.json, unless a
    graph differs from PyTorch.
    """
    from discoformer_export.errors import ExportError
    from discoformer_export.files.model_folder import release
    from discoformer_training.run.checkpoint import CheckpointError

    try:
        report = release(
            checkpoint,
            out,
            name=name or out.resolve().name,
            version=model_version,
            licence=licence,
            commit=commit,
            say=lambda line: click.echo(line, err=True),
        )
    except (CheckpointError, ExportError) as error:
        raise click.ClickException(str(error)) from error
    worst = max(parity.onnx_error for parity in report)
    click.echo(f"{out}: {len(report)} cases, largest error {worst:.1e}", err=True)


def main() -> None:
    """Run the command line, saying what to install when an extra is missing."""
    try:
        export()
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'discoformer[export]'")


if __name__ == "__main__":
    main()
