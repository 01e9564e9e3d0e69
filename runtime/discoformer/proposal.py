"""The mixtures that the network makes of samples, and the base made of them, for the heads to refine.

Shapes: B data sets, N points, D dimensions, K components, J components of each coordinate.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from discoformer.base.base import Base, halves, share_of_product
from discoformer.base.frame import Frames, fit_frames
from discoformer.base.independent import (
    LANDMARKS,
    IndependentMixture,
    axes_of,
    coordinates_along,
    enough,
    evaluate_product,
    no_product,
    product_of,
)
from discoformer.base.landmarks import take_landmarks
from discoformer.base.mixture import ABSENT, Components
from discoformer.base.mixture_answers import MixtureAnswers
from discoformer.base.mixture_checks import checked_components, is_astray
from discoformer.base.standardised import has_density
from discoformer.fit import Sample, graph_inputs, landmarks_of, log_weights_of, points_of
from discoformer.io.inputs import Floats
from discoformer.onnx.graphs import Graphs
from discoformer.onnx.names import MIXTURE
from discoformer.onnx.sessions import Float32s


def read_mixtures(
    graphs: Graphs, samples: Sequence[Sample], read: Sequence[tuple[Floats, Floats]]
) -> tuple[dict[str, Float32s], list[int]]:
    """Run the mixture graph for B samples of the same number of columns.

    A mixture from more landmarks than the network was trained to read is compared with one from as many as
    that.

    Args:
        graphs: The graphs of the model.
        samples: The samples.
        read: The landmarks (n, D) of each, in the frame, and their counts (n,).

    Returns:
        Inputs and outputs of the graph by name, and the indices of the samples whose mixtures are astray.
    """
    given = graph_inputs(samples, read)
    arrays = given | graphs.mixture(given)
    others: Sequence[list[Float32s] | None] = [None] * len(samples)
    trained = graphs.files("fast").metadata.landmarks
    if given["context"].shape[1] > trained:
        fewer = [landmarks_of(sample, trained) for sample in samples]
        others = by_sample(graphs.mixture(graph_inputs(samples, fewer)))
    mixtures = by_sample(arrays)
    return arrays, [
        i for i, sample in enumerate(samples) if is_astray(mixtures[i], sample.frame, *read[i], others[i])
    ]


def by_sample(arrays: Mapping[str, Float32s]) -> list[list[Float32s]]:
    """Return the outputs of the mixture graph for each sample of a batch."""
    return [list(fields) for fields in zip(*(arrays[name] for name in MIXTURE), strict=True)]


def propose(
    graphs: Graphs, samples: Sequence[Sample], mixtures: Mapping[str, Float32s]
) -> dict[str, Float32s]:
    """Return the bases of B samples of the same number of columns, as inputs of the encode graph.

    Args:
        graphs: The graphs of the model.
        samples: The samples.
        mixtures: Outputs of the mixture graph for them.
    """
    components = [
        checked_components(array.astype(float) for array in mixture) for mixture in by_sample(mixtures)
    ]
    products, shares = zip(*(_product_and_share(graphs, sample) for sample in samples), strict=True)
    axes, *of_coordinates = zip(*products, strict=True)
    base = Base(
        Components(*_stacked([*zip(*components, strict=True)], axis=1)),
        IndependentMixture(np.concatenate(axes), *_stacked(of_coordinates, axis=2)),
        np.concatenate(shares),
    )
    return {name: array.astype(np.float32) for name, array in base.to_inputs().items()}


def _product_and_share(graphs: Graphs, sample: Sample) -> tuple[IndependentMixture[Floats], Floats]:
    """Return the product (1, D, J) of a sample and its share (1,) in the base."""
    (z, w), frame = (array[None] for array in points_of(sample)), sample.frame
    size, root = np.array([frame.effective_size]), frame.precision_root[None]
    dim = z.shape[-1]
    if dim == 1 or frame.effective_size < enough(dim):
        return no_product(root), np.zeros(1)
    product = _product_of(graphs, z, w, size, root)
    if not (product.log_scale > 0.5 * ABSENT).any():  # the axes are singular
        return no_product(root), np.zeros(1)
    return product, _share_of(graphs, z, w, size)


def _product_of(
    graphs: Graphs, points: Floats, weights: Floats, size: Floats, precision_root: Floats
) -> IndependentMixture[Floats]:
    """Return the product of a context: the mixture graph reads each coordinate alone."""
    axes = axes_of(points, weights, size, precision_root)
    values, w, sizes = coordinates_along(axes, points, weights, size)
    frames = fit_frames(values, w, sizes)
    return product_of(axes, frames, *_mixtures_of(graphs, frames.to_frame(values), w, frames, LANDMARKS))


def _share_of(graphs: Graphs, points: Floats, weights: Floats, size: Floats) -> Floats:
    """Return the share (1,) of the product: both densities are made from half of the points.

    It is 0 if the mixture of that half is astray: then it tells nothing of the mixture of all points.
    """
    seen, held_out = halves(points, weights, size)
    if not has_density(seen[0]):
        return np.zeros(1)
    w = np.full(seen.shape[:2], 1 / seen.shape[1])
    frame = fit_frames(seen)
    seen, asked = frame.to_frame(seen), frame.to_frame(held_out)
    mixture = [field[0] for field in _mixtures_of(graphs, seen, w, frame, seen.shape[1])]
    if is_astray(mixture, frame, seen[0], w[0]):
        return np.zeros(1)
    product = _product_of(graphs, seen, w, frame.effective_size, frame.precision_root)
    log_mixture, _ = MixtureAnswers(checked_components(mixture)).answer(asked[0])
    return share_of_product(log_mixture[None], evaluate_product(product, asked).log_density)


def _mixtures_of(
    graphs: Graphs, points: Floats, weights: Floats, frames: Frames[Floats], most: int
) -> list[Floats]:
    """Return the outputs of the mixture graph for points (B, n, D) in their frames, weights of sum 1."""
    landmarks, counts = take_landmarks(points, weights, frames.effective_size, most)
    given = {
        "context": landmarks,
        "log_weights": log_weights_of(counts),
        "precision_root": frames.precision_root,
        "log_det_precision": frames.log_det_precision,
        "effective_size": frames.effective_size,
        "all_points": points,
        "all_log_weights": log_weights_of(weights),
    }
    found = graphs.mixture({name: array.astype(np.float32) for name, array in given.items()})
    return [found[name].astype(np.float64) for name in MIXTURE]


def _stacked(fields: Sequence[Sequence[Floats]], axis: int) -> Iterator[Floats]:
    """Join the fields of mixtures of several data sets. Components are along an axis; absent ones fill it."""
    for field, absent in zip(fields, (ABSENT, 0.0, 1.0, 1.0), strict=True):
        most = max(array.shape[axis] for array in field)
        found = np.full((len(field), *field[0].shape[1:axis], most, *field[0].shape[axis + 1 :]), absent)
        for row, array in zip(found, field, strict=True):
            row[(slice(None),) * (axis - 1) + (slice(array.shape[axis]),)] = array[0]
        yield found
