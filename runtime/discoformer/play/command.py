"""The command ``discoformer play``."""

import webbrowser
from pathlib import Path

import click

from discoformer.onnx.finding import find_folder
from discoformer.play.onnxruntime_web import cached, checked
from discoformer.play.server import Server
from discoformer.play.site import checked_model, site_files, write_site


def play(
    model: str, host: str, port: int, browser: bool, out: Path | None, onnxruntime_web: Path | None
) -> None:
    """Write the site to a folder, or serve it until it is interrupted.

    Args:
        model: Name of a released model, or a path to a folder.
        host: Address to listen at.
        port: Port to listen at, or 0 for any free one.
        browser: Whether to open the page in a browser.
        out: Folder to write the site to; None to serve it.
        onnxruntime_web: Folder with the files of onnxruntime-web; None to download them.

    Raises:
        InputError: The address or a file cannot be used.
        ModelError: The model does not give a mixture, or is not usable.
        ModelNotFoundError: The model does not exist, or a file is missing in it.
        OSError: A file cannot be downloaded or written.
    """
    folder = checked_model(find_folder(model))
    files = site_files(folder, checked(onnxruntime_web) if onnxruntime_web else cached())
    if out:
        write_site(files, out)
        click.echo(f"The playground is in {out}: publish this folder on any web server.", err=True)
        return
    with Server(host, port, files) as server:
        click.echo(f"The playground is at {server.url} (press Ctrl-C to stop).", err=True)
        if browser:
            webbrowser.open(server.url)
        server.serve_forever()
