"""What ``discoformer play`` does."""

import webbrowser
from pathlib import Path

import click

from discoformer.model import find_folder
from discoformer.play.onnxruntime_web import cached, checked
from discoformer.play.server import Server
from discoformer.play.site import checked_model, site_files, write_site


def play(
    model: str, host: str, port: int, browser: bool, out: Path | None, onnxruntime_web: Path | None
) -> None:
    """Writes the site to ``out``, or serves it until it is interrupted.

    Raises:
        InputError: The address or a file cannot be used.
        ModelNotFoundError: There is no such model, or it lacks a file.
        OSError: A file cannot be fetched or written.
    """
    folder = checked_model(find_folder(model))
    files = site_files(folder, checked(onnxruntime_web) if onnxruntime_web else cached())
    if out:
        write_site(files, out)
        click.echo(f"The playground is in {out}: host that folder anywhere.", err=True)
        return
    with Server(host, port, files) as server:
        click.echo(f"The playground is at {server.url} (Ctrl-C ends it).", err=True)
        if browser:
            webbrowser.open(server.url)
        server.serve_forever()
