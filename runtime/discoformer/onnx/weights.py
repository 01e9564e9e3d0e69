"""Replace the weights in the ONNX files of a model, without tracing and without the ``onnx`` package.

An ONNX file is a protobuf message (see ``protobuf``). The initialisers of its graph that hold parameters are
float32 arrays of fixed length. Each has the name of its parameter. The matrix of a linear map may be stored
transposed, as ``(in, out)``; then its name ends in ``.T``. So the new values overwrite the old ones, byte for
byte, and the rest of the graph stays as it is. The metadata are fields of the outermost message, which are
replaced as a whole.

The weights come from a safetensors file: the length of the header (8 bytes, little-endian), the header, which
is JSON of ``{name: {dtype, shape, data_offsets}}``, and the data.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.errors import ModelError
from discoformer.io.inputs import Floats
from discoformer.onnx.protobuf import BYTES, bytes_field, fields
from discoformer.onnx.sessions import Float32s

FILE = "weights.safetensors"
MIXTURE_FILE = "mixture.safetensors"  # the weights of the mixture graph
BASIS = "adaptation.safetensors"  # the directions in which adaptation moves the weights
TRANSPOSED = ".T"  # suffix of the name of a transposed matrix
ADAPTED = "+adapted"  # suffix of the version of a model with adapted weights

# Tags of the fields that are read, each a number in ONNX's schema and a kind.
_GRAPH, _METADATA = 7 << 3 | BYTES, 14 << 3 | BYTES  # of the model
_INITIALIZER = 5 << 3 | BYTES  # of the graph
_NAME, _RAW_DATA = 8 << 3 | BYTES, 9 << 3 | BYTES  # of a tensor
_KEY, _VALUE = 1 << 3 | BYTES, 2 << 3 | BYTES  # of an entry of the metadata


def read_weights_file(content: bytes, path: Path = Path(FILE)) -> dict[str, Float32s]:
    """Read the parameters in a safetensors file.

    Args:
        content: The file.
        path: Path of the file, for error messages.

    Returns:
        The arrays by name.

    Raises:
        ModelError: The file is not safetensors, or holds values that are not float32.
    """
    try:
        header, data = _header(content)
        _check_places(header, len(content) - data)
        return {name: _tensor(memoryview(content)[data:], **entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} must be a safetensors file of float32 weights, but reading it failed "
            f"({type(error).__name__}: {error}): take the whole folder from its source again, or export it "
            "again"
        ) from error


def replaced(content: bytes, parameters: Mapping[str, Floats]) -> bytes:
    """Replace the values of some parameters in a safetensors file; their shapes stay the same."""
    header, data = _header(content)
    changed = bytearray(content)
    for name, values in parameters.items():
        first, last = header[name]["data_offsets"]
        changed[data + first : data + last] = values.astype("<f4").tobytes()
    return bytes(changed)


def with_weights(content: bytes, weights: bytes, path: Path) -> bytes:
    """Replace the weights in an ONNX file, and the hash of the weights and the version in its metadata.

    Args:
        content: The ONNX file.
        weights: A safetensors file. Parameters that are in only one of the two files have no effect.
        path: Path of the ONNX file, for error messages.

    Returns:
        The new ONNX file.

    Raises:
        ModelError: A parameter has another size in the graph than in the weights.
    """
    changed = _overwritten(content, weights, path)
    return _with_metadata(changed, {"weights_sha256": hashlib.sha256(weights).hexdigest()})


def check_weights(content: bytes, weights: bytes, path: Path) -> None:
    """Check that an ONNX file has the weights of a safetensors file; arguments as in ``with_weights``.

    Raises:
        ModelError: They are not.
    """
    if _overwritten(content, weights, path) != content:
        raise ModelError(
            f"{path} has other weights than the safetensors file in the same folder: take the whole folder "
            "from its source again, or export it again"
        )


def _overwritten(content: bytes, weights: bytes, path: Path) -> bytes:
    """Replace the weights in an ONNX file; see ``with_weights``."""
    parameters = read_weights_file(weights, path)
    changed = bytearray(content)
    for name, first, last in _initializers(content):
        parameter = parameters.get(name.removesuffix(TRANSPOSED))
        if parameter is None:
            continue
        if name.endswith(TRANSPOSED):
            parameter = parameter.reshape(-1, parameter.shape[-1]).T
        values = np.ascontiguousarray(parameter, "<f4").tobytes()
        if len(values) != last - first:
            raise ModelError(
                f"{path} has {last - first} bytes for {name}, but the new weights have {len(values)}: they "
                "belong to another network, use weights of this one"
            )
        changed[first:last] = values
    return bytes(changed)


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and the position at which the data start."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length], object_pairs_hook=_distinct)
    header.pop("__metadata__", None)
    return header, 8 + length


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict, unless a key is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check_places(header: Mapping[str, Any], size: int) -> None:
    """Check that tensors follow one another, without overlap or gap, and fill the data of this size."""
    end = 0
    for first, last in sorted(entry["data_offsets"] for entry in header.values()):
        if first != end or last < first:
            raise ValueError(f"a tensor at byte {first} of the data, needed {end}")
        end = last
    if end != size:
        raise ValueError(f"{size} bytes of data, of which tensors fill {end}")


def _tensor(data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Float32s:
    """Return a tensor, given the data and its entry in the header."""
    first, last = data_offsets
    if dtype != "F32" or last - first != 4 * math.prod(shape):
        raise ValueError(f"a tensor of {dtype}, shape {shape}, at {data_offsets}")
    return np.frombuffer(data[first:last], "<f4").reshape(shape)


def _initializers(content: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield the name, and the start and end of the raw values, of each initialiser of the graph."""
    for tag, graph, graph_end in fields(content, 0, len(content)):
        if tag != _GRAPH:
            continue
        for inner, tensor, tensor_end in fields(content, graph, graph_end):
            if inner != _INITIALIZER:
                continue
            held = {field: (first, last) for field, first, last in fields(content, tensor, tensor_end)}
            if _RAW_DATA in held:
                yield content[slice(*held[_NAME])].decode(), *held[_RAW_DATA]


def _with_metadata(content: bytes, values: Mapping[str, str]) -> bytes:
    """Replace values in the metadata of a file, and mark its version as adapted."""
    parts, position = [], 0
    for tag, first, last in fields(content, 0, len(content)):
        if tag == _METADATA:
            entry = {field: content[a:b] for field, a, b in fields(content, first, last)}
            key, value = entry[_KEY].decode(), entry[_VALUE].decode()
            value = value.removesuffix(ADAPTED) + ADAPTED if key == "version" else values.get(key, value)
            body = bytes_field(_KEY, key.encode()) + bytes_field(_VALUE, value.encode())
            parts.append(bytes_field(_METADATA, body))
        else:
            parts.append(content[position:last])
        position = last
    return b"".join(parts)
