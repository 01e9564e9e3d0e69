"""Detection of anomalies on the tables of ADBench, compared with other detectors.

FOLDER holds files .npz with rows ``X`` (N, D) and labels ``y`` (N,), 1 for anomalies: those of
``adbench/datasets/Classical`` in github.com/Minqi824/ADBench (BSD licence; Han et al., NeurIPS 2022). The
figure is the area under the ROC curve: 1 if every anomaly has a lower score than every normal row, 1/2 for
guessing.

There are two settings. *One class*: a detector reads half of the normal rows, and scores all others.
*Unsupervised*: it reads all rows, and scores them. At most 4,000 rows are read and 8,000 are scored, chosen
at random. Up to 4,000 of them are the anomalies. The other detectors read standardised columns. A row is not
its own neighbour.

Results are kept in NAME_adbench.json as they come: a second run skips what is there.

    python -m benchmarks.accuracy.adbench FOLDER --out docs/adbench
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

import discoformer
from benchmarks.common.data_sets import Floats
from benchmarks.common.estimators import gmm_bic, kde
from benchmarks.common.kept import Kept, again_option
from benchmarks.common.report import load_model, markdown, model_option, out_option, seed_option, write
from discoformer.sklearn import AnomalyDetector

Ints = NDArray[np.int64]
Detector = Callable[[Floats, Floats, Ints, int], Floats]
"""A function to a score (M,) that is high at normal rows, from rows to read (N, D), rows to score (M, D), the
place (M,) of the latter among the former (-1 for others), and a seed."""

MOST_READ, MOST_SCORED = 4000, 8000
NEIGHBOURS = 5
SHOWN = 100  # characters of a message in the report
SETTINGS = ("one class", "unsupervised")
OURS = ("fast", "best")


@dataclass(frozen=True)
class Result:
    """One detector on one table with one seed."""

    table: str
    dim: int  # D
    read: int  # N
    scored: int  # M
    setting: str
    draw: int
    detector: str
    area: float | None  # under the ROC curve; None if the detector failed
    seconds: float  # of CPU time, to read and to score
    failure: str | None = None


def nearest_neighbours(context: Floats, test: Floats, own: Ints, seed: int) -> Floats:
    """Return minus the distance to the fifth nearest neighbour."""
    del seed
    distances, _ = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(context).kneighbors(test)
    return -distances[np.arange(len(test)), NEIGHBOURS - (own < 0)]


def local_outlier_factor(context: Floats, test: Floats, own: Ints, seed: int) -> Floats:
    """Local outlier factor of scikit-learn, with its defaults."""
    del seed
    detector = LocalOutlierFactor(novelty=True).fit(context)
    return np.where(own < 0, detector.score_samples(test), detector.negative_outlier_factor_[own])


def isolation_forest(context: Floats, test: Floats, own: Ints, seed: int) -> Floats:
    """Isolation forest of scikit-learn, with its defaults."""
    del own
    found: Floats = IsolationForest(random_state=seed).fit(context).score_samples(test)
    return found


def ecod(context: Floats, test: Floats, own: Ints, seed: int) -> Floats:
    """ECOD (Li et al., *IEEE TKDE* 2022), as in PyOD: ``sum_j log min(P(X_j <= x_j), P(X_j >= x_j))``.

    The probabilities are those of the rows read, with the row to score added to them.
    """
    del seed
    added, total = (own < 0).astype(int), np.zeros(len(test))
    for column, values in zip(context.T, test.T, strict=True):
        order = np.sort(column)
        below = np.searchsorted(order, values, side="right") + added
        above = len(order) - np.searchsorted(order, values, side="left") + added
        total += np.log(np.minimum(below, above) / (len(order) + added))
    return total


def ours(model: discoformer.Model) -> dict[str, Detector]:
    """Return the detectors that use a model."""

    def detector(effort: str) -> Detector:
        def score(context: Floats, test: Floats, own: Ints, seed: int) -> Floats:
            del own, seed
            made = AnomalyDetector(model=model.folder, device="cpu", threads=1, effort=effort)
            return made.fit(context).score_samples(test)

        return score

    return {effort: detector(effort) for effort in OURS}


PEERS: dict[str, Detector] = {
    "k-NN": nearest_neighbours,
    "LOF": local_outlier_factor,
    "isolation forest": isolation_forest,
    "ECOD": ecod,
    "KDE": lambda context, test, _, seed: kde(context, test, seed),
    "EM, BIC": lambda context, test, _, seed: gmm_bic(context, test, seed),
}
METHODS = (*OURS, *PEERS)


def split(labels: Ints, setting: str, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return which rows to read (N,) and which to score (M,)."""
    rows = rng.permutation(len(labels))
    anomalies, normal = rows[labels[rows] == 1], rows[labels[rows] == 0]
    read = rows
    if setting == "one class":
        read, normal = np.split(normal, [len(normal) // 2])
    scored = anomalies[: MOST_SCORED // 2]
    return read[:MOST_READ], np.concatenate([scored, normal[: MOST_SCORED - len(scored)]])


def measure(
    model: discoformer.Model, paths: Sequence[Path], draws: int, methods: Sequence[str], seed: int, kept: Kept
) -> Iterator[Result]:
    """Yield the results that are not kept, table by table."""
    detectors = ours(model) | PEERS
    for path in paths:
        with np.load(path) as file:
            points, labels = file["X"].astype(float), file["y"].astype(int)
        for setting in SETTINGS:
            for draw in range(draws):
                read, scored = split(labels, setting, np.random.default_rng([seed, draw]))
                place = np.full(len(points), -1)
                place[read] = np.arange(len(read))
                about = (path.stem, points.shape[1], len(read), len(scored), setting, draw)
                raw = points[read], points[scored]
                for name in methods:
                    if kept.has(path.stem, setting, draw, name):
                        continue
                    given = raw if name in OURS else standardised(*raw)
                    start = time.process_time()
                    try:
                        found = detectors[name](*given, place[scored], seed + draw)
                        area = float(roc_auc_score(labels[scored] == 0, rankdata(found)))
                        failure = None
                    except ValueError as error:  # those of discoformer are ValueErrors too
                        area, failure = None, str(error)
                    yield Result(*about, name, area, time.process_time() - start, failure)


def standardised(context: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Standardise the columns by the rows read; constant columns are moved only."""
    center, scale = context.mean(axis=0), context.std(axis=0)
    scale[scale == 0] = 1.0
    return (context - center) / scale, (test - center) / scale


def table(results: Sequence[Result], setting: str) -> str:
    """Return a Markdown table with a line per table: 100 times the area, as the mean over draws."""
    here = [r for r in results if r.setting == setting]
    methods = [name for name in METHODS if any(r.detector == name for r in here)]
    names = list(dict.fromkeys(r.table for r in here))
    areas = {
        (name, method): _area([r for r in here if (r.table, r.detector) == (name, method)])
        for name in names
        for method in methods
    }
    rows = []
    for name in names:
        first = next(r for r in here if r.table == name)
        cells = [areas[name, method] for method in methods]
        rows.append([f"{name}, {first.dim}, {first.read}", *map(_text, cells)])
    read = [name for name in names if all(areas[name, method] is not None for method in methods)]
    if read:
        means = [float(np.mean([areas[name, method] for name in read])) for method in methods]
        rows.append([f"mean over {len(read)} tables that all read", *map(_text, means)])
    done = [r for r in here if r.failure is None]
    seconds = [[r.seconds for r in done if r.detector == method] for method in methods]
    rows.append(["CPU seconds, mean", *(f"{np.mean(values):.2g}" if values else "" for values in seconds)])
    return markdown(["table, D, N", *methods], rows)


def _area(results: Sequence[Result]) -> float | None:
    found = [r.area for r in results]
    return None if not found or None in found else 100 * float(np.mean(found))


def _text(area: float | None) -> str:
    return "-" if area is None else f"{area:.1f}"


def report(model: discoformer.Model, results: Sequence[Result], seed: int) -> str:
    """Return the report in Markdown."""
    about, draws = model.metadata, 1 + max(r.draw for r in results)
    failures = {f"- {r.table}, {r.setting}, {r.detector}: {r.failure[:SHOWN]}" for r in results if r.failure}
    tables = "\n\n".join(f"Setting: {name}.\n\n{table(results, name)}" for name in SETTINGS)
    return f"""\
Area under the ROC curve, in per cent, of `AnomalyDetector` with the model `{about.name}` {about.version} and
of other detectors, on {len({r.table for r in results})} tables of ADBench with N rows read: mean of {draws}
random draws, seed {seed}.

{tables}

{"Tables that cannot be read:" if failures else "All tables could be read."}
{chr(10).join(sorted(failures))}
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@model_option
@out_option
@click.option(
    "--table", "names", multiple=True, help="Table (name of its file without .npz); all by default."
)
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True)
@again_option
@seed_option
def main(
    folder: Path,
    name: str,
    out: Path | None,
    names: Sequence[str],
    methods: Sequence[str],
    draws: int,
    again: Sequence[str],
    seed: int,
) -> None:
    """Measure a model on the tables in FOLDER, print the report, and write it with all results to --out."""
    paths = sorted(path for path in folder.glob("*.npz") if not names or path.stem in names)
    if not paths:
        raise click.UsageError(f"{folder} has no files .npz" + (f" of the names {names}" if names else ""))
    model = load_model(name)
    title = f"{model.folder.name}_adbench"
    path = None if out is None else out / f"{title}.json"
    kept = Kept(path, model, seed, ("table", "setting", "draw", "detector"), OURS, again)
    for result in measure(model, paths, draws, methods, seed, kept):
        kept.add(asdict(result))
        if result.detector == methods[-1]:
            click.echo(f"{result.table}, {result.setting}, draw {result.draw}", err=True)
    text = report(model, [Result(**result) for result in kept.results], seed)
    click.echo(text)
    if out is not None:
        write(out, title, model, seed, text, kept.results)


if __name__ == "__main__":
    main()
