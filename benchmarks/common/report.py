"""Command-line options, Markdown tables, and files of results that the benchmarks share."""

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

import discoformer
from discoformer_training.evaluation.metrics import six_digits

FOLDER = click.Path(file_okay=False, path_type=Path)

model_option = click.option(
    "--model", "name", default="base", show_default=True, help="Name or folder of a released model."
)
out_option = click.option("--out", type=FOLDER, help="Folder for the report and the results.")
seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the benchmark."
)


def load_model(name: str | Path, threads: int | None = 1) -> discoformer.Model:
    """Load a model on the CPU, and silence warnings about its trained ranges."""
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    return discoformer.load(name, device="cpu", threads=threads)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(line)} |" for line in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def standard_error(values: npt.ArrayLike) -> float:
    """Return the standard error of a mean, NaN for a single value."""
    values = np.asarray(values)
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def mean_and_error(values: npt.ArrayLike, form: str = ".3f", error_form: str | None = None) -> str:
    """Return a mean and its standard error as text; the error of a single value is left out."""
    error = standard_error(values)
    mean = format(np.mean(values), form)
    return mean if np.isnan(error) else f"{mean} ± {error:{error_form or form.lstrip('+')}}"


def write(
    out: Path, name: str, model: discoformer.Model, seed: int, text: str, results: Sequence[dict[str, Any]]
) -> None:
    """Write the report, NAME.md, and the results by columns with model and seed, NAME.json."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    write_results(out / f"{name}.json", model, seed, results)


def write_results(path: Path, model: discoformer.Model, seed: int, results: Sequence[dict[str, Any]]) -> None:
    """Write results by columns, with model and seed. An interruption leaves the file as it was."""
    about = model.metadata
    content = {
        "model": {"name": about.name, "version": about.version, "weights_sha256": about.weights_sha256},
        "seed": seed,
        "results": {key: [_rounded(result[key]) for result in results] for key in results[0]},
    }
    written = path.with_suffix(".part")
    written.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    written.replace(path)


def _rounded(value: Any) -> Any:
    """Round numbers to six significant digits."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return six_digits(value) if isinstance(value, float) else value


def read(path: Path) -> list[dict[str, Any]]:
    """Read the results of a NAME.json."""
    columns = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
