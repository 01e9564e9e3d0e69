"""Report of ``discoformer bench``: a Markdown table, JSON, and a picture."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from discoformer.errors import require
from discoformer.io.files import write_bytes
from discoformer.plots.pictures import write_picture
from discoformer.tools.bench import OURS, Timing


def save_report(folder: Path, timings: Sequence[Timing]) -> None:
    """Write ``bench.md``, ``bench.json`` and ``bench.png`` into a folder.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: A file cannot be written.
    """
    write_bytes(folder / "bench.md", to_markdown(timings).encode())
    write_bytes(folder / "bench.json", to_json(timings).encode())
    save_picture(folder / "bench.png", timings)


def to_markdown(timings: Sequence[Timing]) -> str:
    """Return a table with one row for each timing. ``times ours`` is the query time relative to ours."""
    lines = [
        "| D, N = M | estimator | threads | read, ms | query, µs each | times ours "
        "| log-density MSE, nats² | score error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for t in timings:
        ours = next(o for o in timings if (o.dim, o.n, o.estimator) == (t.dim, t.n, OURS))
        score = "" if t.score_error is None else f"{100 * t.score_error:.3g} %"
        lines.append(
            f"| {t.dim}, {t.n} | {t.estimator} | {t.threads} | {1e3 * t.fit_s:.3g} | {t.per_query_us:.3g} "
            f"| {t.query_s / ours.query_s:.2f} | {t.density_error:.3g} | {score} |"
        )
    return "\n".join(lines) + "\n"


def to_json(timings: Sequence[Timing]) -> str:
    """Return all fields of the timings as JSON."""
    return json.dumps([asdict(timing) for timing in timings], indent=2) + "\n"


def save_picture(path: Path, timings: Sequence[Timing]) -> None:
    """Plot error against time per query: one panel for each D, one line over N for each estimator.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    figure_class = require("matplotlib.figure").Figure
    dims = list(dict.fromkeys(t.dim for t in timings))
    figure = figure_class(figsize=(4 * len(dims), 3.6), layout="constrained")
    for axes, dim in zip(figure.subplots(1, len(dims), squeeze=False)[0], dims, strict=True):
        for name in dict.fromkeys(t.estimator for t in timings):
            line = [t for t in timings if (t.dim, t.estimator) == (dim, name)]
            line = [t for t in line if math.isfinite(t.density_error)]
            if line:
                axes.plot(
                    [t.per_query_us for t in line], [t.density_error for t in line], marker="o", label=name
                )
                for t in (line[0], line[-1]) if name == OURS else ():
                    axes.annotate(f"N = {t.n}", (t.per_query_us, t.density_error), fontsize=7)
        axes.set(xscale="log", yscale="log", title=f"D = {dim}", xlabel="µs for each query")
    figure.axes[0].set_ylabel("log-density MSE, nats²")
    figure.axes[0].legend(fontsize=7)
    write_picture(path, figure, 150)
