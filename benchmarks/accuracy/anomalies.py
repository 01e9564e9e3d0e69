"""Anomalies on real data by low density, beside the detectors that a user would try.

A detector reads 80 % of the rows of one class, the normal one, and nothing else. It is asked for the rest of
them and for all rows of the other classes: the area under its ROC curve, 1 where every anomaly has a lower
density than every normal row, 1/2 for guessing. Benign against malignant in breast_cancer; in wine and
digits each class in turn against the others, the areas averaged. The noise of ``data_sets`` is added first;
principal components are those of the normal rows read. The standard error is over splits, which share data.

    python -m benchmarks.accuracy.anomalies models/gmm --out docs/real_data
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from pyod.models.ecod import ECOD
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

import discoformer
from benchmarks.common.data_sets import Floats, load
from benchmarks.common.estimators import Estimator, base, gaussian, gmm_bic, kde
from benchmarks.common.report import write

TRAIN = 0.8  # of the rows of the normal class


class Task(NamedTuple):
    """A data set, the classes that are normal in turn, and how many principal components are taken."""

    data: str
    normal: tuple[int, ...]
    dim: int | None = None  # all columns, if None


BENIGN = 1  # class of breast_cancer
TASKS = {
    "breast_cancer": Task("breast_cancer", (BENIGN,)),
    "wine": Task("wine", (0, 1, 2)),
    "digits-10": Task("digits", tuple(range(10)), 10),
    "digits-30": Task("digits", tuple(range(10)), 30),
    "digits": Task("digits", tuple(range(10))),
}


@dataclass(frozen=True)
class Result:
    """One detector on one split of one class."""

    task: str
    dim: int  # D
    train: int  # rows read
    normal: int  # the class that they are of
    split: int
    detector: str
    area: float  # under the ROC curve
    seconds: float  # of CPU time, to read and to answer


def isolation_forest(train: Floats, test: Floats, seed: int) -> Floats:
    """scikit-learn's, with its defaults."""
    found: Floats = IsolationForest(random_state=seed).fit(train).score_samples(test)
    return found


def local_outlier_factor(train: Floats, test: Floats, seed: int) -> Floats:
    """scikit-learn's, with its defaults."""
    del seed
    found: Floats = LocalOutlierFactor(novelty=True).fit(train).score_samples(test)
    return found


def ecod(train: Floats, test: Floats, seed: int) -> Floats:
    """PyOD's, with its defaults, asked for one row at a time.

    It counts the rows that it is asked for among those that it has read, so that the anomalies in one long
    question would pass for normal rows.
    """
    del seed
    detector = ECOD().fit(train)
    return -np.concatenate([detector.decision_function(row[None]) for row in test])


def detectors(model: discoformer.Model) -> dict[str, Estimator]:
    """Functions of training rows, test rows and seed, to what is high at normal rows."""
    return {
        "DiScoFormer": lambda train, test, _: model.estimate(train).log_density(test),
        "its base alone": base,
        "KDE": kde,
        "EM, BIC": gmm_bic,
        "one Gaussian": gaussian,
        "IsolationForest": isolation_forest,
        "LOF": local_outlier_factor,
        "ECOD": ecod,
    }


def measure(
    functions: dict[str, Estimator], names: Sequence[str], splits: int, seed: int
) -> Iterator[Result]:
    """Yields results, task by task."""
    for name in names:
        task = TASKS[name]
        points, labels = load(task.data, seed)
        for split in range(splits):
            for normal in task.normal:
                rows = np.random.default_rng([seed, split, normal]).permutation(np.sum(labels == normal))
                train, kept = np.split(points[labels == normal][rows], [round(TRAIN * len(rows))])
                test = np.concatenate([kept, points[labels != normal]])
                train, test = transformed(train, test, task.dim)
                is_normal = np.arange(len(test)) < len(kept)
                for detector, function in functions.items():
                    start = time.process_time()
                    found = function(train, test, seed + split)
                    seconds = time.process_time() - start
                    area = float(roc_auc_score(is_normal, found))
                    yield Result(name, train.shape[1], len(train), normal, split, detector, area, seconds)


def transformed(train: Floats, test: Floats, dim: int | None) -> tuple[Floats, Floats]:
    """Columns standardised, or so many principal components; both as the training rows have them."""
    if dim is None:
        center, spread = train.mean(axis=0), train.std(axis=0)
        return (train - center) / spread, (test - center) / spread
    pca = PCA(dim, svd_solver="full").fit(train)
    return pca.transform(train), pca.transform(test)


def table(results: Sequence[Result]) -> str:
    """Markdown: a line for each task, 100 times the area and its standard error over the splits."""
    names = list(dict.fromkeys(r.detector for r in results))
    lines = [f"| task, D, N | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for task in dict.fromkeys(r.task for r in results):
        here = [r for r in results if r.task == task]
        fewest, most = min(r.train for r in here), max(r.train for r in here)
        cells = [f"{task}, {here[0].dim}, {fewest}" + (f"-{most}" if most > fewest else "")]
        cells += [_entry([r for r in here if r.detector == name]) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    seconds = [np.median([r.seconds for r in results if r.detector == name]) for name in names]
    lines.append(f"| CPU seconds, median | {' | '.join(f'{mean:.2g}' for mean in seconds)} |")
    return "\n".join(lines)


def _entry(results: Sequence[Result]) -> str:
    splits = sorted({r.split for r in results})
    areas = np.array([np.mean([r.area for r in results if r.split == split]) for split in splits])
    error = f" ± {100 * areas.std(ddof=1) / np.sqrt(len(areas)):.2f}" if len(areas) > 1 else ""
    return f"{100 * areas.mean():.2f}{error}"


def report(model: discoformer.Model, results: Sequence[Result], seed: int) -> str:
    """Markdown: what was measured, and the table."""
    about, splits = model.metadata, 1 + max(r.split for r in results)
    return f"""\
Area under the ROC curve, in per cent, of the model `{about.name}` {about.version} and other detectors of
anomalies, which read N rows of the normal class alone: mean of {splits} random splits ± its standard error,
seed {seed}. In wine and digits each class in turn is normal, and the areas are averaged.

{table(results)}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the .md and .json.")
@click.option("--task", "names", multiple=True, type=click.Choice(list(TASKS)), default=tuple(TASKS))
@click.option("--splits", type=click.IntRange(1), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(folder: Path, out: Path | None, names: Sequence[str], splits: int, seed: int) -> None:
    """Measures the model in FOLDER, prints the table, and writes it with all results to --out."""
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    model = discoformer.load(folder.resolve(), device="cpu", threads=1)
    functions, results = detectors(model), []
    for result in measure(functions, names, splits, seed):
        results.append(result)
        if result.detector == next(iter(functions)):
            click.echo(f"{result.task}, split {result.split}, class {result.normal}", err=True)
    text = report(model, results, seed)
    click.echo(text)
    if out is not None:
        name = f"{folder.resolve().name}_anomalies"
        write(out, name, model, seed, text, [asdict(result) for result in results])


if __name__ == "__main__":
    main()
