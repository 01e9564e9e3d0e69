"""Safety checks of graph files before they are opened, since a model may come from anyone.

An ONNX file is a protobuf message, ``ModelProto``. A field of it may be a message too. The check reads all of
them down to the attributes of a node, and takes only what ``discoformer-export`` writes:

- fields that it writes: no graph inside a node (so no loop or branch), no function, no tensor in a file,
- operators that it writes, none of which runs other code or repeats,
- tensors of float32, float64 and int64 whose bytes are in the file, as many as their shapes need,
- nodes that depend on an input of the graph, and whole numbers up to ``MOST_WHOLE``, except as the ends of a
  slice: so nothing large is made of constants.

What a graph makes of its inputs is bounded when it runs; see ``sessions``.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from discoformer.errors import ModelError
from discoformer.onnx.protobuf import BYTES, FIXED32, VARINT, MalformedError, fields, read_varint

MOST_BYTES = 2**28  # largest size of a file
MOST_FIELDS = 2**21  # largest number of fields in the messages that are read
MOST_WHOLE = 2**16  # largest whole number in a tensor

OPERATORS = frozenset(
    b"Abs Add And ArgMax Cast Clip Concat ConstantOfShape CumSum Det Div Einsum Equal Exp Expand "
    b"EyeLike Gather GatherND Gelu Gemm Greater GreaterOrEqual LayerNormalization Less LessOrEqual Log "
    b"MatMul Max Min Mul Neg Or Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Reshape "
    b"Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub TopK Transpose Unsqueeze Where".split()
)
"""Operators of ONNX that the export writes."""
CONTRIBUTED = frozenset({b"Inverse"})
"""Operators of ONNX Runtime's own that the export writes."""

_STANDARD, _CONTRIBUTED = (b"", b"ai.onnx"), b"com.microsoft"  # domains of the operators
_ORT_FORMAT = b"ORTM"  # bytes 4 to 8 of a file in the format of onnxruntime
_DTYPES = {1: "<f4", 7: "<i8", 11: "<f8"}  # by ONNX's number

# For each message the fields that it may have, by name and ONNX's number.
_FIELDS = {
    "model": {
        VARINT: {"ir_version": 1, "model_version": 5},
        BYTES: {
            "producer_name": 2,
            "producer_version": 3,
            "domain": 4,
            "doc_string": 6,
            "graph": 7,
            "opset_import": 8,
            "metadata_props": 14,
        },
    },
    "graph": {
        BYTES: {
            "node": 1,
            "name": 2,
            "initializer": 5,
            "doc_string": 10,
            "input": 11,
            "output": 12,
            "value_info": 13,
        }
    },
    "node": {
        BYTES: {
            "input": 1,
            "output": 2,
            "name": 3,
            "op_type": 4,
            "attribute": 5,
            "doc_string": 6,
            "domain": 7,
        }
    },
    "attribute": {
        VARINT: {"i": 3, "ints": 8, "type": 20},
        FIXED32: {"f": 2},
        BYTES: {"name": 1, "s": 4, "doc_string": 13},
    },
    "tensor": {VARINT: {"dims": 1, "data_type": 2}, BYTES: {"name": 8, "raw_data": 9, "double_data": 10}},
    "opset": {VARINT: {"version": 2}, BYTES: {"domain": 1}},
    "value": {BYTES: {"name": 1, "type": 2, "doc_string": 3}},
}
_BY_TAG = {
    message: {number << 3 | kind: name for kind, names in kinds.items() for name, number in names.items()}
    for message, kinds in _FIELDS.items()
}


def check_files(files: Mapping[Path, bytes]) -> None:
    """Refuse graph files that are unsafe to open.

    Args:
        files: Content of each file, by path.

    Raises:
        ModelError: A file is refused. The message states which, the value found, and the value needed.
    """
    for path, content in files.items():
        try:
            _Check(content)
        except _RefusalError as refusal:
            raise ModelError(
                f"{path} is not opened: it {refusal}; use a model that discoformer-export wrote, from a "
                "source you trust"
            ) from None
        except MalformedError as error:
            raise ModelError(
                f"{path} is not opened: it is not ONNX, or {error}; take the model from its source again"
            ) from None


class _RefusalError(Exception):
    """The reason to refuse a file, as the predicate of a sentence about the file."""


class _Check:
    """The check of one file."""

    def __init__(self, content: bytes) -> None:
        """Check a file.

        Raises:
            MalformedError: It is no protobuf message.
            _RefusalError: It is refused.
        """
        if not 0 < len(content) <= MOST_BYTES:
            raise _RefusalError(f"has {len(content)} bytes, needed 1 to {MOST_BYTES}")
        if content[4:8] == _ORT_FORMAT:
            raise _RefusalError("is in the format of onnxruntime, needed ONNX")
        self._content = content
        self._count = 0
        graphs = []
        for name, first, last in self._fields("model", 0, len(content)):
            if name == "graph":
                graphs.append((first, last))
            elif name == "opset_import":
                self._check_opset(first, last)
        if len(graphs) != 1:
            raise _RefusalError(f"has {len(graphs)} graphs, needed 1")
        self._check_graph(*graphs[0])

    def _fields(self, message: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
        """Yield the name, and the start and end of the value, of each field of a message."""
        known = _BY_TAG[message]
        for tag, first, last in fields(self._content, start, end):
            self._count += 1
            if self._count > MOST_FIELDS:
                raise _RefusalError(f"has more than {MOST_FIELDS} fields")
            if tag not in known:
                raise _RefusalError(
                    f"has a field of number {tag >> 3} in a {message}, which no export writes"
                )
            yield known[tag], first, last

    def _bytes(self, message: str, start: int, end: int, *names: str) -> dict[str, list[bytes]]:
        """Return the values of some fields of a message, each a list."""
        found: dict[str, list[bytes]] = {name: [] for name in names}
        for name, first, last in self._fields(message, start, end):
            if name in found:
                found[name].append(self._content[first:last])
        return found

    def _check_opset(self, start: int, end: int) -> None:
        for domain in self._bytes("opset", start, end, "domain")["domain"]:
            if domain not in (*_STANDARD, _CONTRIBUTED):
                raise _RefusalError(f"has operators of the domain {_text(domain)}, needed only those of ONNX")

    def _check_graph(self, start: int, end: int) -> None:
        places: dict[str, list[tuple[int, int]]] = {"node": [], "initializer": [], "input": []}
        for name, first, last in self._fields("graph", start, end):
            if name in places:
                places[name].append((first, last))
        constants: set[bytes] = set()
        large: set[bytes] = set()
        for place in places["initializer"]:
            name_of, greatest = self._check_tensor(*place)
            constants.add(name_of)
            if greatest > MOST_WHOLE:
                large.add(name_of)
        given = [self._bytes("value", *place, "name")["name"] for place in places["input"]]
        variable = {name for names in given for name in names} - constants
        for place in places["node"]:
            self._check_node(*place, variable, large)

    def _check_node(self, start: int, end: int, variable: set[bytes], large: set[bytes]) -> None:
        """Check a node, and add its outputs to the values that depend on an input of the graph."""
        found: dict[str, list[bytes]] = {
            name: [] for name in ("input", "output", "op_type", "domain", "attribute")
        }
        for name, first, last in self._fields("node", start, end):
            if name == "attribute":
                for _ in self._fields("attribute", first, last):
                    pass  # reading it refuses what it may not have
            elif name in found:
                found[name].append(self._content[first:last])
        for domain in found["domain"] or [b""]:
            known = {_CONTRIBUTED: CONTRIBUTED}.get(domain, OPERATORS if domain in _STANDARD else frozenset())
            for operator in found["op_type"] or [b""]:
                if operator not in known:
                    raise _RefusalError(
                        f"has the operator {_text(operator)} of the domain {_text(domain)}, which no export "
                        "writes"
                    )
        if variable.isdisjoint(found["input"]):
            raise _RefusalError(
                f"has a node {_text(found['op_type'][0])} that depends on no input, which no export writes"
            )
        if found["op_type"] != [b"Slice"] and not large.isdisjoint(found["input"]):
            raise _RefusalError(f"has a whole number above {MOST_WHOLE} that is not the end of a slice")
        variable.update(found["output"])

    def _check_tensor(self, start: int, end: int) -> tuple[bytes, float]:
        """Check a tensor; return its name, and the greatest size of its values if they are whole numbers."""
        shape: list[int] = []
        dtypes: list[int] = []
        names, data = [], []
        for name, first, last in self._fields("tensor", start, end):
            if name in ("dims", "data_type"):
                (shape if name == "dims" else dtypes).append(read_varint(self._content, first)[0])
            elif name == "name":
                names.append(self._content[first:last])
            elif name in ("raw_data", "double_data"):  # which hold the same bytes
                data.append((first, last))
        if len(names) != 1 or len(dtypes) != 1 or len(data) > 1 or dtypes[0] not in _DTYPES:
            raise _RefusalError(f"has a tensor of the data types {dtypes}, needed one of {sorted(_DTYPES)}")
        dtype = np.dtype(_DTYPES[dtypes[0]])
        first, last = data[0] if data else (0, 0)
        if math.prod(shape) * dtype.itemsize != last - first:
            raise _RefusalError(f"has a tensor of shape {shape[:8]} with {last - first} bytes of data")
        if dtype.kind != "i" or first == last:
            return names[0], 0.0
        values = np.frombuffer(self._content, dtype, math.prod(shape), first)
        return names[0], float(np.abs(values.astype(float)).max())


def _text(name: bytes) -> str:
    return repr(name[:80].decode(errors="replace"))
