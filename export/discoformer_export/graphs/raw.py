"""The two ends of discoformer.onnx, as modules that can be traced: raw data to the network, and back.

    data -> frame -> mixture network -> the mixture at the queries -> data units

The frame, and the mixture at the queries, are float64: in float32 a metric or a scale matrix would lose 1e-7
times its condition number. There are no loops. Shapes: B data sets, N points, n of them landmarks, M queries,
K components, D dimensions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from discoformer.onnx.names import ANSWERS, FRAMED, MIXTURE, WHOLE
from discoformer_export.graphs.frame import fit_frames
from discoformer_export.graphs.indexing import few_of, known_later, number_present, take
from discoformer_export.graphs.mixture_network import by_products
from discoformer_export.graphs.network import AXES
from discoformer_training.nn.mixture_network import Mixture

RAW = ("context", "log_weights")  # inputs of the first end
MAP = ("center", "linear", "inverse", "log_abs_det")
FRAMED_MIXTURE = tuple(f"framed_{name}" for name in MIXTURE)  # the outputs of the network
SEEN = ("landmarks", "landmark_log_weights", *FRAMED[2:], *WHOLE)  # inputs of the network
RAW_AXES = AXES | {
    "landmarks": ("B", "n", "D"),
    "landmark_log_weights": ("B", "n"),
    "all_points": ("B", "N", "D"),
    "all_log_weights": ("B", "N"),
}


class IntoFrame(nn.Module):
    """Data to the inputs of the mixture network, and the map to the frame.

    Args:
        landmarks: greatest number of points that the network reads.
    """

    inputs = RAW
    outputs = (*SEEN, *MAP)

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.landmarks = landmarks

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Bring data to the frame.

        Args:
            given: "context" (B, N, D), and "log_weights" (B, N) up to a constant: zeros for equal weights,
                -1e30 where a point is absent. Coordinates of absent points do not matter, but are finite.

        Returns:
            `outputs`, NaN where the data have no density. The inputs of the network are float32.
        """
        data, w = given["context"], torch.softmax(given["log_weights"], -1)
        size = w.sum(-1).square() / w.square().sum(-1)
        data = torch.where((w > 0)[..., None], data, take(data, w.argmax(-1)[:, None]))
        frame = fit_frames(data, w, size)
        present = number_present(w)
        many = (size > self.landmarks) | (present > 4 * self.landmarks)  # as `take_landmarks` has it
        count = known_later(torch.where(many, self.landmarks, present).max())
        index, shares = few_of(frame.order, w, many, self.landmarks, count)
        of_landmarks = (take(frame.z, index), _log(shares))
        read = (*of_landmarks, frame.precision_root, frame.log_det_precision, size, frame.z, _log(w))
        to_frame = (frame.center, frame.linear, frame.inverse, frame.log_abs_det)
        return *(value.float() for value in read), *to_frame


def _log(weights: Tensor) -> Tensor:
    """Return log-weights that are finite in float32."""
    return weights.log().clamp(min=torch.finfo(torch.float32).min)


class FromFrame(nn.Module):
    """The mixture in the frame to answers, and to the mixture, in data units."""

    inputs = ("queries", *MAP, *FRAMED_MIXTURE)
    outputs = (*ANSWERS, *MIXTURE)

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Answer queries.

        Args:
            given: "queries" (B, M, D) in data units, the outputs of the mixture network, and the map.

        Returns:
            Log-density (B, M) in nats, score (B, M, D), and the mixture, data units.
        """
        center, linear, inverse, log_abs_det = (given[name] for name in MAP)
        mixture = Mixture(*(given[name].double() for name in FRAMED_MIXTURE))
        queries = (given["queries"] - center[:, None]) @ linear
        log_density, score = mixture.log_density_and_score(queries, by_products)
        scales = inverse.mT[:, None] @ mixture.scales @ inverse[:, None]
        means = mixture.means @ inverse + center[:, None]
        in_data_units = mixture._replace(means=means, scales=scales)
        return log_density + log_abs_det[:, None], score @ linear.mT, *in_data_units


def example_ends() -> dict[str, Tensor]:
    """Draw a value for every input of the modules, to trace them with."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    batch, n, m, dim, components = 2, 37, 11, 5, 7
    return {
        "context": normal(batch, n, dim),
        "log_weights": normal(batch, n),
        "queries": normal(batch, m, dim),
        "center": normal(batch, dim),
        "linear": normal(batch, dim, dim),
        "inverse": normal(batch, dim, dim),
        "log_abs_det": normal(batch),
        "framed_mixture_log_weights": normal(batch, components).float(),
        "framed_mixture_means": normal(batch, components, dim).float(),
        "framed_mixture_scales": torch.eye(dim).expand(batch, components, dim, dim).clone(),
        "framed_mixture_freedom": torch.full((batch, components), 5.0),
    }
