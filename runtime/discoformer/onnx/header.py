"""What an ONNX file says about itself: names of its inputs and outputs, and metadata. Nothing is opened."""

from pathlib import Path
from typing import NamedTuple

from discoformer.errors import ModelError
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import Graph
from discoformer.onnx.protobuf import BYTES, MalformedError, fields

# Tags of the fields that are read, each a number in ONNX's schema and a kind.
_GRAPH, _METADATA = 7 << 3 | BYTES, 14 << 3 | BYTES  # of the model
_INPUT, _OUTPUT = 11 << 3 | BYTES, 12 << 3 | BYTES  # of the graph
_NAME = 1 << 3 | BYTES  # of an input or output
_KEY, _VALUE = 1 << 3 | BYTES, 2 << 3 | BYTES  # of an entry of the metadata


class Header(NamedTuple):
    """The header of a file."""

    inputs: set[str]
    outputs: set[str]
    metadata: dict[str, str]


def checked_metadata(path: Path, content: bytes, graph: Graph) -> Metadata:
    """Return the metadata of a file, after a check that it holds the graph that it should.

    Raises:
        ModelError: An input is unknown, an output is missing, or the metadata are not usable.
    """
    try:
        header = read_header(content)
    except MalformedError as error:
        raise ModelError(f"{path} is not ONNX, or {error}: take the model from its source again") from error
    unknown, missing = sorted(header.inputs - {*graph.inputs}), sorted({*graph.outputs} - header.outputs)
    if unknown or missing:
        raise ModelError(
            f"{path} does not fit this version of discoformer (unknown inputs {unknown}, missing outputs "
            f"{missing}): upgrade discoformer, or export the model again"
        )
    return Metadata.parse(header.metadata, path)


def read_header(content: bytes) -> Header:
    """Read the header of a file.

    Raises:
        MalformedError: The bytes are not a message of protobuf.
    """
    header = Header(set(), set(), {})
    for tag, first, last in fields(content, 0, len(content)):
        if tag == _METADATA:
            entry = _texts(content, first, last)
            if (key := entry.get(_KEY, "")) in header.metadata:
                raise MalformedError(f"has two entries {key[:80]!r} of metadata")
            header.metadata[key] = entry.get(_VALUE, "")
        elif tag == _GRAPH:
            for inner, start, end in fields(content, first, last):
                if inner in (_INPUT, _OUTPUT):
                    names = header.inputs if inner == _INPUT else header.outputs
                    names.add(_texts(content, start, end).get(_NAME, ""))
    return header


def _texts(content: bytes, start: int, end: int) -> dict[int, str]:
    """Return the names, keys and values among the fields of a message, by tag."""
    try:
        return {
            tag: content[first:last].decode()
            for tag, first, last in fields(content, start, end)
            if tag in (_NAME, _KEY, _VALUE)
        }
    except UnicodeDecodeError as error:
        raise MalformedError(f"has text that is not UTF-8 before byte {end} ({error})") from error
