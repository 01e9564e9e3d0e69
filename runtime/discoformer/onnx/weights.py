"""Other weights in the ONNX files of a model, without tracing and without the ``onnx`` package.

An ONNX file is a protobuf message (see ``safety``). The initialisers of its graph that hold parameters are
float32 arrays of fixed length, under the parameter's name, or, of a map of the last axis that stands
transposed, ``(in, out)``, under its name with ``.T``. So new values are laid over the old ones, byte for
byte, and nothing else in the graph moves. Entries of the metadata are fields of the outermost message, and
are replaced whole.

The weights themselves come as a safetensors file: the length of its header (8 bytes, little-endian), the
header, JSON of ``{name: {dtype, shape, data_offsets}}``, and the data.
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
from discoformer.onnx.safety import walk
from discoformer.onnx.sessions import Float32s

FILE = "weights.safetensors"
BASIS = "adaptation.safetensors"  # directions in which adaptation moves the weights, beside them
TRANSPOSED = ".T"
ADAPTED = "+adapted"  # after the version of a model whose weights are others
_GRAPH, _INITIALIZER, _METADATA = 7 << 3 | 2, 5 << 3 | 2, 14 << 3 | 2  # tags of what is looked for
_NAME, _RAW_DATA, _KEY, _VALUE = 8 << 3 | 2, 9 << 3 | 2, 1 << 3 | 2, 2 << 3 | 2


def read_weights_file(content: bytes, path: Path = Path(FILE)) -> dict[str, Float32s]:
    """The parameters in a safetensors file, by name (``path`` is for the error message).

    Raises:
        ModelError: It is no such file, or holds anything but float32.
    """
    try:
        header, data = _header(content)
        return {name: _tensor(memoryview(content)[data:], **entry) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} holds no weights of this project ({type(error).__name__}: {error}): take the whole "
            "folder from its source again, or export it again"
        ) from error


def replaced(content: bytes, parameters: Mapping[str, Floats]) -> bytes:
    """A safetensors file with other values for some of its parameters, of their shapes."""
    header, data = _header(content)
    changed = bytearray(content)
    for name, values in parameters.items():
        first, last = header[name]["data_offsets"]
        changed[data + first : data + last] = values.astype("<f4").tobytes()
    return bytes(changed)


def with_weights(content: bytes, weights: bytes, path: Path) -> bytes:
    """An ONNX file with other weights in it, and with their hash and another version in its metadata.

    Args:
        content: The file.
        weights: A safetensors file; parameters that the graph lacks are left out, others stay as they are.
        path: Where the file was read from, for error messages.

    Raises:
        ModelError: A parameter of the graph is of another size.
    """
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
                f"{path} has {last - first} bytes for {name}, its new weights {len(values)}: they are of "
                "another network"
            )
        changed[first:last] = values
    return _with_metadata(bytes(changed), {"weights_sha256": hashlib.sha256(weights).hexdigest()})


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its tensors, and where their data begin."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, 8 + length


def _tensor(data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Float32s:
    first, last = data_offsets
    if dtype != "F32" or last - first != 4 * math.prod(shape) or not 0 <= first <= last <= len(data):
        raise ValueError(f"a tensor of {dtype}, shape {shape}, at {data_offsets}")
    return np.frombuffer(data[first:last], "<f4").reshape(shape)


def _initializers(content: bytes) -> Iterator[tuple[str, int, int]]:
    """Names of the initialisers of the graph, and where their raw values begin and end."""
    for tag, graph, graph_end in walk(content, 0, len(content)):
        if tag != _GRAPH:
            continue
        for inner, tensor, tensor_end in walk(content, graph, graph_end):
            if inner != _INITIALIZER:
                continue
            fields = {held: (first, last) for held, first, last in walk(content, tensor, tensor_end)}
            if _RAW_DATA in fields:
                yield content[slice(*fields[_NAME])].decode(), *fields[_RAW_DATA]


def _with_metadata(content: bytes, values: Mapping[str, str]) -> bytes:
    """The file with other values in its metadata, and the version of an adapted model."""
    parts, position = [], 0
    for tag, first, last in walk(content, 0, len(content)):
        if tag == _METADATA:
            entry = {held: content[a:b] for held, a, b in walk(content, first, last)}
            key, value = entry[_KEY].decode(), entry[_VALUE].decode()
            value = value.removesuffix(ADAPTED) + ADAPTED if key == "version" else values.get(key, value)
            body = _bytes_field(_KEY, key.encode()) + _bytes_field(_VALUE, value.encode())
            parts.append(_bytes_field(_METADATA, body))
        else:
            parts.append(content[position:last])
        position = last
    return b"".join(parts)


def _bytes_field(tag: int, value: bytes) -> bytes:
    """A field of the protobuf wire format: its tag, the length of the value, the value."""
    return bytes([tag]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Seven bits to a byte, the lowest first; all bytes but the last have the eighth set."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
