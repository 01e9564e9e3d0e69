"""Digits drawn from the estimate of 1,500 handwritten digits: a picture, and distances to real digits.

The digits of scikit-learn have 8 x 8 pixels of 17 grey levels. Constant pixels are left out. Noise undoes the
rounding of the others, since rounded data have no density. Drawn pixels are rounded for the picture only.
Digits are drawn in the remaining 61 columns, or in the first 20 principal components.

    python -m benchmarks.analysis.digits --out docs/sampling
"""

import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

import discoformer
from benchmarks.analysis.sampling import energy
from benchmarks.common.data_sets import Floats, load
from benchmarks.common.report import load_model, markdown, model_option, seed_option

CONTEXT, DRAWN, SHOWN, AXES = 1500, 297, 16, 20


class Drawn(NamedTuple):
    """Points drawn by one method."""

    label: str
    points: Floats  # (n, 61)
    seconds: float


def draw_all(model: discoformer.Model, context: Floats, seed: int) -> list[Drawn]:
    """Draw digits by every method."""
    axes = PCA(AXES, svd_solver="full").fit(context)
    found = []
    for label, coordinates, back in (
        (f"{context.shape[1]} pixels", context, lambda x: x),
        (f"{AXES} axes", axes.transform(context), axes.inverse_transform),
    ):
        for method in ("langevin", "diffusion"):
            start = time.process_time()
            points = model.estimate(coordinates).sample(DRAWN, method, seed)
            found.append(Drawn(f"{method}, {label}", back(points), time.process_time() - start))
            click.echo(found[-1].label, err=True)
        start = time.process_time()
        fits = [GaussianMixture(k, random_state=seed, reg_covar=1e-3).fit(coordinates) for k in range(1, 13)]
        points = min(fits, key=lambda fit: fit.bic(coordinates)).sample(DRAWN)[0]
        points = np.random.default_rng(seed).permutation(points)  # they are sorted by component
        found.append(Drawn(f"GMM by BIC, {label}", back(points), time.process_time() - start))
    return found


def table(drawn: list[Drawn], context: Floats, test: Floats) -> str:
    """Return a Markdown table with a line per method, and one for digits of the context."""
    scale, usual = context.std(), np.median(cdist(test, context).min(axis=1))
    rows = []
    for label, points, seconds in [*drawn, Drawn("real ones, of the context", context[:DRAWN], 0.0)]:
        nearest = np.median(cdist(points, context).min(axis=1)) / usual
        distance = energy(points / scale, test / scale)
        rows.append([label, f"{distance:.4f}", f"{nearest:.2f}", f"{seconds:.1f}"])
    return markdown(["digits", "energy distance", "nearest", "CPU s"], rows)


def picture(path: Path, rows: dict[str, Floats], kept: Floats) -> None:
    """Save a picture with a row of digits per label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 0.53 * len(rows)), dpi=130, facecolor="white")
    for axis, (label, points) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        images = np.zeros((SHOWN, 64))
        images[:, kept] = np.clip(np.round(points[:SHOWN]), 0, 16)
        strip = np.pad(images.reshape(-1, 8, 8), ((0, 0), (0, 0), (0, 1))).transpose(1, 0, 2).reshape(8, -1)
        axis.imshow(strip, cmap="gray_r", vmin=0, vmax=16, interpolation="nearest")
        axis.set_axis_off()
        axis.text(-2, 4, label, ha="right", va="center", fontsize=8)
    figure.subplots_adjust(left=0.24, right=1, top=1, bottom=0, hspace=0.1)
    figure.savefig(path)


@click.command()
@model_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@seed_option
def main(name: str, out: Path, seed: int) -> None:
    """Draw digits, and write OUT/digits.png and .md."""
    model = load_model(name)
    points = np.random.default_rng(seed).permutation(load("digits", seed).points)
    context, test = points[:CONTEXT], points[CONTEXT:]
    drawn = draw_all(model, context, seed)
    best = drawn[0].points[:SHOWN]
    rows = {"real": test} | {each.label: each.points for each in drawn}
    rows["nearest real to row 2"] = context[cdist(best, context).argmin(axis=1)]
    out.mkdir(parents=True, exist_ok=True)
    picture(out / "digits.png", rows, np.ptp(load_digits().data, axis=0) > 0)
    about = model.metadata
    text = f"""\
{DRAWN} digits drawn by the model `{about.name}` {about.version} from {CONTEXT} digits of scikit-learn, seed
{seed}. `energy distance` is to {len(test)} held-out digits, in units of the standard deviation of the pixels.
`nearest` is the median distance to the nearest digit of the context, relative to that of held-out digits. The
drawn digits are rounded to grey levels for the picture only.

![Digits](digits.png)

{table(drawn, context, test)}

`python -m benchmarks.analysis.digits --model {about.name} --out docs/sampling`
"""
    click.echo(text)
    (out / "digits.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
