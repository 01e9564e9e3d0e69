"""Latency and throughput of ``discoformer serve``, beside calls of the package in a loop.

    python -m benchmarks.speed.serve [--out docs/serving] [--seconds 2]

An estimate of 2,000 points in 5-D by each effort is saved and served. Clients in this process send requests
of so many queries one after another, over connections that stay open. Time of the processor is that of the
service, or of the loop: it tells the cost of HTTP also where other processes are at work.
"""

import http.client
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

import discoformer
from benchmarks.common.report import load_model, markdown, out_option, seed_option, write

POINTS, DIM = 2000, 5
ROWS = (1, 64, 1024, 8192)
CLIENTS = (1, 8)
LENGTH = "Inference-Header-Content-Length"
TICK = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[int, int]]:
    """Run the service; yield its port and process."""
    command = [sys.executable, "-c", "from discoformer.cli import main; main()", "serve", *arguments]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            log.open("w") as file,
            subprocess.Popen([*command, "--timeout", "600", "--port", "0"], stderr=file) as process,
        ):
            try:
                while '"serving"' not in log.read_text():
                    if process.poll() is not None:
                        raise click.ClickException(log.read_text())
                    time.sleep(0.1)
                yield json.loads(log.read_text().splitlines()[0])["port"], process.pid
            finally:
                process.terminate()


def body_of(queries: np.ndarray, form: str) -> tuple[bytes, dict[str, str]]:
    """Return a request, in JSON or in binary, and its headers."""
    item: dict[str, Any] = {"name": "queries", "shape": queries.shape, "datatype": "FP64"}
    if form == "JSON":
        return json.dumps({"inputs": [item | {"data": queries.ravel().tolist()}]}).encode(), {}
    item["parameters"] = {"binary_data_size": queries.nbytes}
    head = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    return head + queries.tobytes(), {LENGTH: str(len(head))}


def client(port: int, model: str, queries: np.ndarray, form: str, seconds: float) -> list[float]:
    """Send requests for a time; return the seconds that each took."""
    body, headers = body_of(queries, form)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    taken, end = [], time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        begun = time.perf_counter()
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        taken.append(time.perf_counter() - begun)
        if answer.status != 200:
            raise click.ClickException(content.decode())
    connection.close()
    return taken


def processor_time(process: int) -> float:
    """Return the seconds of processor time that a process has used."""
    entries = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(entries[11]) + int(entries[12])) * TICK


def own_time() -> float:
    """Return the seconds of processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(
    about: dict[str, Any], rows: int, spent: Callable[[], float], run: Callable[[], list[list[float]]]
) -> dict[str, Any]:
    """Run clients that each return the times of their requests; return the figures."""
    before, begun = spent(), time.perf_counter()
    times = np.concatenate(run())
    wall, used = time.perf_counter() - begun, spent() - before
    p50, p99 = np.percentile(times, [50, 99])
    result = about | {
        "rows": rows,
        "requests": len(times),
        "p50_ms": 1e3 * p50,
        "p99_ms": 1e3 * p99,
        "requests_per_s": len(times) / wall,
        "rows_per_s": rows * len(times) / wall,
        "cpu_ms": 1e3 * used / len(times),
    }
    click.echo(
        " ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in result.items()
        )
    )
    return result


def over_http(
    files: dict[str, Path], queries: np.ndarray, seconds: float, merge: bool
) -> Iterator[dict[str, Any]]:
    """Yield the figures of the service; with merging those alone that it changes."""
    with serving(*map(str, files.values()), *(["--merge"] if merge else [])) as (port, process):
        kinds = product(files, ROWS, CLIENTS, ("binary", "JSON"))
        for effort, rows, clients, form in kinds:
            if merge and (effort, clients, form) != ("best", CLIENTS[-1], "binary"):
                continue
            if merge and rows > ROWS[1]:
                continue
            one = partial(client, port, effort, queries[:rows], form, seconds)

            def run(one: Callable[[], list[float]] = one, clients: int = clients) -> list[list[float]]:
                with ThreadPoolExecutor(clients) as pool:
                    return [found.result() for found in [pool.submit(one) for _ in range(clients)]]

            client(port, effort, queries[:rows], form, 0)  # to warm up
            about = {"effort": effort, "by": f"{form}{', merged' if merge else ''}", "clients": clients}
            yield measured(about, rows, partial(processor_time, process), run)


def in_a_loop(
    estimates: dict[str, discoformer.Estimate], queries: np.ndarray, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield the figures of calls of the package, in one thread."""
    for (effort, estimate), rows in product(estimates.items(), ROWS):

        def run(estimate: discoformer.Estimate = estimate, rows: int = rows) -> list[list[float]]:
            taken, end = [], time.perf_counter() + seconds
            while not taken or time.perf_counter() < end:
                begun = time.perf_counter()
                estimate.log_density_and_score(queries[:rows])
                taken.append(time.perf_counter() - begun)
            return [taken]

        estimate.log_density_and_score(queries[:rows])
        yield measured({"effort": effort, "by": "loop", "clients": 1}, rows, own_time, run)


def report(results: list[dict[str, Any]], model: discoformer.Model, threads: int) -> str:
    """Return the page."""
    about = model.metadata
    lines = [
        (
            result["effort"],
            f"{result['rows']:,}",
            result["by"],
            str(result["clients"]),
            f"{result['p50_ms']:.3g}",
            f"{result['p99_ms']:.3g}",
            f"{result['rows_per_s']:,.0f}",
            f"{result['cpu_ms']:.3g}",
        )
        for result in sorted(
            results, key=lambda result: (result["effort"], result["rows"], result["by"] != "loop")
        )
    ]
    header = ("effort", "queries", "by", "clients", "p50, ms", "p99, ms", "queries / s", "processor, ms")
    return (
        f"# Latency of the service\n\nModel `{about.name}` {about.version}, {POINTS:,} points in {DIM}-D, "
        f"{threads} threads of the service on the machine of the clients. `loop`: calls of the package in "
        "one thread. Processor: time of the service, or of the loop, for a request.\n\n"
        f"{markdown(header, lines)}\n"
    )


@click.command()
@click.argument("model", default="base")
@click.option("--seconds", default=2.0, show_default=True, help="Time of each measurement.")
@out_option
@seed_option
def main(model: str, seconds: float, out: Path | None, seed: int) -> None:
    """Measure the service of estimates by MODEL, the name or folder of a model."""
    loaded = load_model(model)
    rng = np.random.default_rng(seed)
    points, queries = rng.normal(size=(POINTS, DIM)), rng.normal(size=(max(ROWS), DIM))
    estimates = {effort: loaded.estimate(points, effort=effort) for effort in ("best", "fast")}
    with TemporaryDirectory() as folder:
        files = {effort: Path(folder) / effort for effort in estimates}
        for effort, estimate in estimates.items():
            estimate.save(files[effort])
        results = [
            *in_a_loop(estimates, queries, seconds),
            *over_http(files, queries, seconds, merge=False),
            *over_http(files, queries, seconds, merge=True),
        ]
    text = report(results, loaded, len(os.sched_getaffinity(0)))
    click.echo(text)
    if out:
        write(out, "table", loaded, seed, text, results)


if __name__ == "__main__":
    main()
