"""Detection of anomalies on real data by low density, compared with other detectors.

A detector reads 80 % of the rows of one class, the normal class. It scores the other rows of this class and
all rows of the other classes. The figure is the area under its ROC curve: 1 if every anomaly has a lower
density than every normal row, 1/2 for guessing. In breast_cancer, benign rows are normal. In wine and digits,
each class in turn is normal, and the areas are averaged. The noise of ``data_sets`` is added first. Principal
components are those of the normal rows read. The standard error is over splits, which share data.

    python -m benchmarks.accuracy.anomalies models/base --out docs/real_data
"""

import time
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
from benchmarks.common.estimators import Estimator, gaussian, gmm_bic, kde, mixture_of
from benchmarks.common.report import load_model, markdown, mean_and_error, out_option, seed_option, write

TRAIN = 0.8  # share of the rows of the normal class


class Task(NamedTuple):
    """A data set, its normal classes in turn, and the number of principal components."""

    data: str
    normal: tuple[int, ...]
    dim: int | None = None  # all columns if None


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
    normal: int  # the normal class
    split: int
    detector: str
    area: float  # under the ROC curve
    seconds: float  # of CPU time, to read and to score


def isolation_forest(train: Floats, test: Floats, seed: int) -> Floats:
    """Isolation forest of scikit-learn, with its defaults."""
    found: Floats = IsolationForest(random_state=seed).fit(train).score_samples(test)
    return found


def local_outlier_factor(train: Floats, test: Floats, seed: int) -> Floats:
    """Local outlier factor of scikit-learn, with its defaults."""
    del seed
    found: Floats = LocalOutlierFactor(novelty=True).fit(train).score_samples(test)
    return found


def ecod(train: Floats, test: Floats, seed: int) -> Floats:
    """ECOD of PyOD, with its defaults, for one row at a time.

    It adds the rows to score to the rows that it has read. Many anomalies at once would look normal.
    """
    del seed
    detector = ECOD().fit(train)
    return -np.concatenate([detector.decision_function(row[None]) for row in test])


def detectors(model: discoformer.Model) -> dict[str, Estimator]:
    """Return functions from training rows, test rows and seed to a score that is high at normal rows."""
    return {
        "DiScoFormer": lambda train, test, _: model.estimate(train).log_density(test),
        "its mixture alone": mixture_of(model),
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
    """Yield results, task by task."""
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
    """Standardise the columns, or take principal components, as fitted to the training rows."""
    if dim is None:
        center, spread = train.mean(axis=0), train.std(axis=0)
        return (train - center) / spread, (test - center) / spread
    pca = PCA(dim, svd_solver="full").fit(train)
    return pca.transform(train), pca.transform(test)


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a line per task: 100 times the area ± its standard error over splits."""
    names = list(dict.fromkeys(r.detector for r in results))
    rows = []
    for task in dict.fromkeys(r.task for r in results):
        here = [r for r in results if r.task == task]
        fewest, most = min(r.train for r in here), max(r.train for r in here)
        size = f"{task}, {here[0].dim}, {fewest}" + (f"-{most}" if most > fewest else "")
        rows.append([size, *(_entry([r for r in here if r.detector == name]) for name in names)])
    seconds = [np.median([r.seconds for r in results if r.detector == name]) for name in names]
    rows.append(["CPU seconds, median", *(f"{median:.2g}" for median in seconds)])
    return markdown(["task, D, N", *names], rows)


def _entry(results: Sequence[Result]) -> str:
    splits = sorted({r.split for r in results})
    areas = [100 * np.mean([r.area for r in results if r.split == split]) for split in splits]
    return mean_and_error(areas, ".2f")


def report(model: discoformer.Model, results: Sequence[Result], seed: int) -> str:
    """Return the report in Markdown."""
    about, splits = model.metadata, 1 + max(r.split for r in results)
    return f"""\
Area under the ROC curve, in per cent, of the model `{about.name}` {about.version} and other detectors of
anomalies. All read N rows of the normal class only. Mean of {splits} random splits ± its standard error, seed
{seed}. In wine and digits each class in turn is normal, and the areas are averaged.

{table(results)}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@out_option
@click.option("--task", "names", multiple=True, type=click.Choice(list(TASKS)), default=tuple(TASKS))
@click.option("--splits", type=click.IntRange(1), default=10, show_default=True)
@seed_option
def main(folder: Path, out: Path | None, names: Sequence[str], splits: int, seed: int) -> None:
    """Measure the model in FOLDER, print the report, and write it with all results to --out."""
    model = load_model(folder.resolve())
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
