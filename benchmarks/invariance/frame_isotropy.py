"""Isotropy of clusters in the frame, by the number of rounds from each initialisation.

The figure is the ratio of the extreme eigenvalues of the mean covariance of the components of a mixture, in
the frame. It is 1 if the clusters are isotropic. Geometric mean over 4 mixtures of the published protocol,
seed 0.

    python -m benchmarks.invariance.frame_isotropy
"""

import torch

from discoformer.base import frame as frames
from discoformer_training.data.mixtures import draw_mixtures

CELLS = [  # D, modes, N
    (2, 8, 256),
    (10, 5, 256),
    (10, 5, 512),
    (30, 5, 64),
    (30, 5, 1024),
    (30, 10, 512),
    (100, 2, 256),
    (100, 5, 512),
    (100, 2, 2048),
    (100, 10, 2048),
]
ROUNDS = [(0, 0), (1, 1), (5, 2), (5, 5)]  # from the whitened and from the standardised initialisation


def isotropy(dim: int, modes: int, n: int) -> float:
    """Return the ratio of the extreme eigenvalues of the within-cluster covariance in the frame."""
    generator = torch.Generator().manual_seed(0)
    mixtures = draw_mixtures(4, dim, modes=(modes, modes), generator=generator)
    frame = frames.fit_frames(mixtures.sample(n, generator=generator))
    weights = mixtures.log_weights.exp()[..., None]
    own = (mixtures.linear.mT * (weights * mixtures.variances).sum(1)[:, None]) @ mixtures.linear
    eigenvalues = torch.linalg.eigvalsh(frame.linear.mT @ own @ frame.linear)
    return (eigenvalues[:, -1] / eigenvalues[:, 0]).log().mean().exp().item()


def main() -> None:
    """Print the table."""
    print("| D, modes, N |", " | ".join(f"rounds {white}, {standard}" for white, standard in ROUNDS), "|")
    print("|---" * (1 + len(ROUNDS)), "|", sep="")
    for cell in CELLS:
        figures = []
        for frames.WHITENED_ROUNDS, frames.STANDARDISED_ROUNDS in ROUNDS:
            figures.append(f"{isotropy(*cell):.1f}")
        print("| {}, {}, {} |".format(*cell), " | ".join(figures), "|", flush=True)


if __name__ == "__main__":
    main()
