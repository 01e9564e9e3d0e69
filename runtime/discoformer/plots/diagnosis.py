"""Report of a diagnosis on one page: its findings and four plots. Needs the extra ``[plot]``.

The plots:

1. How much higher the log-likelihood of held-out points is than under KDE and one Gaussian.
2. The difference of score and slope of the log-density at each query.
3. The matrix of Stein's identity, ``E[s z^T]``, which is minus the identity for the true score.
4. The distributions of the log-density, at the queries and at held-out points.
"""

import base64
import html
import io
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.analysis.diagnosis import Diagnosis
from discoformer.analysis.findings import leads
from discoformer.errors import require
from discoformer.io.files import write_bytes
from discoformer.plots.pictures import write_picture

COLOURS = {"fine": "#2a7f4f", "doubtful": "#b36b00", "bad": "#b3261e"}
_WIDTH, _LINE = 135, 0.034  # characters of a line, and its height as a share of the subfigure of text
REPORTS = (".html", ".png", ".svg", ".pdf")

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: left; vertical-align: top; }}
td, th {{ padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; }}
img {{ width: 100%; }}
</style></head><body>
<h1>{title}</h1>
<p style="color: {colour}; font-weight: 600">{verdict}</p>
<table><thead><tr><th>Level</th><th>Finding</th><th>Measured</th><th>Meaning</th></tr></thead><tbody>
{rows}
</tbody></table>
<img alt="Held-out likelihood, score against slope, Stein's matrix, log-densities"
 src="data:image/png;base64,{picture}">
</body></html>
"""


def save_report(path: Path, diagnosis: Diagnosis, title: str) -> None:
    """Write a diagnosis as an HTML page (.html), or as a picture with text (.png, .svg, .pdf).

    Args:
        path: The file; its suffix gives the format.
        diagnosis: The diagnosis.
        title: Heading of the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    if path.suffix == ".html":
        write_bytes(path, _page(diagnosis, title).encode())
    else:
        write_picture(path, _figure(diagnosis, title), 130)


def _page(diagnosis: Diagnosis, title: str) -> str:
    picture = io.BytesIO()
    _figure(diagnosis, None).savefig(picture, dpi=110, format="png")
    rows = "\n".join(
        f'<tr><td style="color: {COLOURS[f.level]}">{f.level}</td>'
        + "".join(f"<td>{html.escape(text)}</td>" for text in (f.name, f.value, f.text))
        + "</tr>"
        for f in diagnosis.findings
    )
    return _PAGE.format(
        title=html.escape(title),
        colour=COLOURS[diagnosis.level],
        verdict=html.escape(diagnosis.verdict),
        rows=rows,
        picture=base64.b64encode(picture.getvalue()).decode(),
    )


def _figure(diagnosis: Diagnosis, title: str | None) -> Any:
    """Draw the four plots, below the findings as text if there is a title."""
    figure = require("matplotlib.figure").Figure(figsize=(11, 12 if title else 7), layout="constrained")
    plots = figure
    if title:
        text, plots = figure.subfigures(2, 1, height_ratios=(5, 7))
        _write(text, diagnosis, title)
    (one, two), (three, four) = plots.subplots(2, 2)
    _draw_held_out(one, diagnosis)
    _draw_agreement(two, diagnosis)
    _draw_stein(figure, three, diagnosis)
    _draw_log_density(four, diagnosis)
    return figure


def _write(figure: Any, diagnosis: Diagnosis, title: str) -> None:
    figure.text(0.02, 0.95, title, fontsize="x-large", weight="bold", va="top")
    figure.text(0.02, 0.86, diagnosis.verdict, color=COLOURS[diagnosis.level], weight="bold", va="top")
    y = 0.78
    for f in diagnosis.findings:
        meaning = textwrap.wrap(f.text, _WIDTH)
        figure.text(0.02, y, f.level, color=COLOURS[f.level], va="top", fontsize="small")
        figure.text(0.1, y, f"{f.name}: {f.value}", va="top", fontsize="small")
        figure.text(0.1, y - _LINE, "\n".join(meaning), va="top", fontsize="small", color="0.4")
        y -= _LINE * (1.25 + len(meaning))


def _draw_held_out(axes: Any, diagnosis: Diagnosis) -> None:
    axes.set_title("Held-out log-likelihood, compared with simple methods", fontsize="medium")
    if (held_out := diagnosis.held_out) is None:
        axes.set_axis_off()
        return
    ahead = leads(held_out, diagnosis.normalization)
    for place, (lead, error) in enumerate(ahead.values()):
        axes.bar(place, lead, yerr=2 * error, width=0.5, color="#31688e", capsize=4)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xticks(range(len(ahead)), [f"estimate minus {name}" for name in ahead])
    axes.set_ylabel("difference (nats per point)")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_agreement(axes: Any, diagnosis: Diagnosis) -> None:
    axes.scatter(diagnosis.log_density, diagnosis.consistency.residual, s=8, alpha=0.6, color="#b5367a")
    axes.set_title("Score against slope of the log-density, at the queries", fontsize="medium")
    axes.set(xlabel="log-density (nats)", ylabel="RMS difference, in the frame", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_stein(figure: Any, axes: Any, diagnosis: Diagnosis) -> None:
    axes.set_title("Stein's identity: E[s z$^T$], should be -1 on the diagonal, else 0", fontsize="medium")
    if (stein := diagnosis.stein) is None:
        axes.set_axis_off()
        return
    matrix = stein.moment - np.eye(len(stein.mean))
    image = axes.imshow(matrix, cmap="RdBu", vmin=-1.5, vmax=1.5)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.colorbar(image, ax=axes)


def _draw_log_density(axes: Any, diagnosis: Diagnosis) -> None:
    axes.set_title("Distribution of the log-density", fontsize="medium")
    both = [diagnosis.log_density]
    if diagnosis.held_out:
        both.append(diagnosis.held_out.ours)
    edges = np.histogram_bin_edges(np.concatenate(both), 40)
    names = ("at the queries", "at held-out points")
    for values, colour, name in zip(both, ("#b5367a", "#31688e"), names, strict=False):
        axes.hist(values, edges, density=True, histtype="step", color=colour, label=name)
    axes.set(xlabel="log-density (nats)", ylabel="density of points")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
