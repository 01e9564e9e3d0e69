"""discoformer.onnx: raw data and queries in, answers and the mixture in data units out, in one forward pass.

It joins three graphs: from data to the frame (`graphs.raw.IntoFrame`), the mixture network, and from the
mixture to the answers (`graphs.raw.FromFrame`). All are standard operators without loops.
"""

from collections.abc import Iterable, Mapping

import onnx
from onnx.compose import add_prefix, merge_models

from discoformer.onnx.names import FRAMED, MIXTURE, WHOLE
from discoformer_export.files.onnx_files import finished, folded, mixture_to_onnx, traced
from discoformer_export.graphs.mixture_network import by_products
from discoformer_export.graphs.raw import (
    FRAMED_MIXTURE,
    MAP,
    RAW_AXES,
    SEEN,
    FromFrame,
    IntoFrame,
    example_ends,
)
from discoformer_training.nn.mixture_network import MixtureNetwork

INTO, NETWORK, FROM = "into/", "network/", "from/"  # prefixes of names


def raw_file(network: MixtureNetwork, landmarks: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Export a network with both ends. The initialisers of the network keep their names.

    Args:
        network: the network.
        landmarks: greatest number of points that it reads.
        metadata: of the file.

    Raises:
        ExportError: an axis cannot be dynamic.
    """
    into = _prefixed(_traced_end(IntoFrame(landmarks)), INTO, rename_inputs=False)
    mixture = mixture_to_onnx(network, {}, by_products)
    middle = _with_names_of(_prefixed(mixture, NETWORK), mixture.graph.initializer)
    back = _prefixed(_traced_end(FromFrame()), FROM, rename_inputs=False, rename_outputs=False)
    seen = [(INTO + name, NETWORK + given) for name, given in zip(SEEN, (*FRAMED, *WHOLE), strict=True)]
    found = zip(MIXTURE, FRAMED_MIXTURE, strict=True)
    answered = [
        *((INTO + name, name) for name in MAP),
        *((NETWORK + name, framed) for name, framed in found),
    ]
    joined = merge_models(merge_models(into, middle, seen), back, answered, name="discoformer")
    del joined.opset_import[:]
    joined.opset_import.extend(mixture.opset_import)
    return finished(joined, metadata, RAW_AXES)


def _traced_end(module: IntoFrame | FromFrame) -> onnx.ModelProto:
    given = {name: value for name, value in example_ends().items() if name in module.inputs}
    model = traced(module, given, module.outputs)
    return finished(folded(model), {}, RAW_AXES)


def _with_names_of(model: onnx.ModelProto, initializers: Iterable[onnx.TensorProto]) -> onnx.ModelProto:
    """Take the prefix from the names of initialisers."""
    names = {NETWORK + initializer.name: initializer.name for initializer in initializers}
    for initializer in model.graph.initializer:
        initializer.name = names[initializer.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return model


def _prefixed(model: onnx.ModelProto, prefix: str, **options: bool) -> onnx.ModelProto:
    """Put a prefix before the names in a model, those of axes too: N of the network is not N of the data."""
    prefixed = add_prefix(model, prefix, **options)
    del prefixed.metadata_props[:]
    for value in prefixed.graph.value_info:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = prefix + dim.dim_param
    return prefixed
