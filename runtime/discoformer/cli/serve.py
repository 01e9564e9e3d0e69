"""``discoformer serve``: answer over HTTP."""

from pathlib import Path
from typing import Any

import click

from discoformer.cli.messages import errors_as_messages
from discoformer.cli.options import EXIT_CODES, device_option, host_option, model_option, port_option
from discoformer.errors import EXTRA_OF, require
from discoformer.serve.limits import Limits

_DEFAULT = Limits()


@click.command(epilog=EXIT_CODES)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@model_option
@device_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Requests that are answered at a time, each on one core. By default one for each core.",
)
@host_option
@port_option
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with a token that requests must have. By default that in DISCOFORMER_TOKEN, if it is set.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1024),
    default=_DEFAULT.body,
    show_default=True,
    help="Most bytes of a request.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=1),
    default=_DEFAULT.rows,
    show_default=True,
    help="Most rows of a tensor.",
)
@click.option(
    "--max-columns",
    type=click.IntRange(min=1),
    default=_DEFAULT.columns,
    show_default=True,
    help="Most columns of a tensor.",
)
@click.option(
    "--max-sample",
    type=click.IntRange(min=1),
    default=_DEFAULT.sample,
    show_default=True,
    help="Most numbers in the samples of a request, rows times columns.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=_DEFAULT.seconds,
    show_default=True,
    help="Seconds until a request is given up.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=0),
    default=_DEFAULT.waiting,
    show_default=True,
    help="Most requests that wait. Further ones are told to come again.",
)
@click.option(
    "--merge/--no-merge",
    default=False,
    show_default=True,
    help="Whether small requests that wait for the same saved estimate (of effort best) are answered "
    "together. This is much faster under load; answers then differ in rounding from time to time.",
)
def serve(
    targets: tuple[str, ...],
    model: str,
    device: Any,
    threads: int | None,
    host: str,
    port: int,
    token_file: Path | None,
    max_bytes: int,
    max_rows: int,
    max_columns: int,
    max_sample: int,
    timeout: float,
    queue: int,
    merge: bool,
) -> None:
    """Answer over HTTP by the Open Inference Protocol (KServe V2).

    TARGET is the name or the folder of a model, or the file of a saved estimate or of saved groups. Its name
    in URLs is that of the file or folder; NAME=TARGET gives another. /docs describes the interface. SIGTERM
    and Ctrl-C end the service once it has answered the requests at work.
    """
    with errors_as_messages():
        for package in (name for name, extra in EXTRA_OF.items() if extra == "serve"):
            require(package)
        from discoformer.serve.command import serve as run

        json = min(_DEFAULT.json, max_bytes)
        limits = Limits(max_bytes, json, max_rows, max_columns, max_sample, timeout, queue)
        run(targets, model, device, threads, host, port, token_file, limits, merge)
