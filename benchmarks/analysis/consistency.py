"""Agreement of the two heads: the score against the gradient of the log-density, at fresh queries.

    residual = sum |S - grad T|^2 / sum |S|^2
    error of S = sum |S - s|^2 / sum |s|^2,    error of grad T = sum |grad T - s|^2 / sum |s|^2

The sums run over draws of the benchmark (seed 0). Figures are in percent, in data units. Autograd gives the
gradient, in float64.

    python -m benchmarks.analysis.consistency models/base
"""

from pathlib import Path

import click
import torch
from torch import Tensor

from discoformer.base.frame import fit_frames
from discoformer_training.data.context import context_in_frame
from discoformer_training.evaluation.cells import Cell, draw
from discoformer_training.nn.network import DiScoFormer
from discoformer_training.nn.proposal import Proposal
from discoformer_training.run.checkpoint import load_mixture_network, load_network

CELLS = [
    *(Cell("gmm", dim, n) for dim in (1, 2, 5, 10, 30) for n in (256, 1024)),
    Cell("gmm", 100, 2048, modes=(2, 2)),
]
DRAWS = 8


def score_and_slope(
    network: DiScoFormer, propose: Proposal, context: Tensor, queries: Tensor
) -> tuple[Tensor, Tensor]:
    """Return S and grad T, (M, D) each in 1 / data units, at queries (M, D) given a context (N, D)."""
    frame = fit_frames(context[None])
    framed = frame.to_frame(queries[None]).requires_grad_()
    in_frame = context_in_frame(context[None], frame, propose=propose).each(Tensor.double)
    log_density, score = network(in_frame, framed)
    (slope,) = torch.autograd.grad(log_density.sum(), framed)
    return frame.score_to_data(score.detach())[0], frame.score_to_data(slope)[0]


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
def main(checkpoint: Path) -> None:
    """Print a line per cell for CHECKPOINT, a file or the folder of a released model."""
    network, propose = load_network(checkpoint).double(), Proposal(load_mixture_network(checkpoint))
    print("| cell | residual, % | error of S, % | error of grad T, % |\n|---|---|---|---|")
    for cell in CELLS:
        sums = torch.zeros(5, dtype=torch.float64)
        for index in range(DRAWS):
            at = draw(cell, index)
            truth = torch.as_tensor(at.truth.score)
            given = (torch.as_tensor(array) for array in (at.context, at.queries))
            score, slope = score_and_slope(network, propose, *given)
            parts = (score - slope, score, score - truth, slope - truth, truth)
            sums += torch.stack([part.square().sum() for part in parts])
        residual, own, score_error, slope_error, power = sums.tolist()
        figures = (100 * residual / own, 100 * score_error / power, 100 * slope_error / power)
        print(f"| {cell} | " + " | ".join(f"{figure:.3g}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
