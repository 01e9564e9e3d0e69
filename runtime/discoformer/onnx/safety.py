"""Safety checks of model files before they are opened, since a model may come from an untrusted source.

An ONNX file is a protobuf message, ``ModelProto``. A field of it may be a message too. The check reads every
message that can hold an operator or a tensor, and skips all others. The graphs of this project have none of
the following, so a file that has one is refused:

- a tensor stored in another file: its path could be that of any file of the user,
- an operator that is not one of ONNX: its implementation would be a library, which could do anything,
- the file format of onnxruntime, damaged bytes, or too large a size or nesting depth.

``config.json`` in the same folder may record the hashes of the files, ``"files": {name: SHA-256}``. Then the
files must have these hashes. This detects files that are damaged or mixed up. It does not detect forged
files: whoever changes a file can also change the record.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from discoformer.errors import ModelError
from discoformer.onnx.protobuf import BYTES, VARINT, MalformedError, fields

MOST_BYTES = 2**28  # largest size of a file
MOST_DEPTH = 64  # deepest nesting of messages
MOST_FIELDS = 2**21  # largest number of fields in the messages that are read

_STANDARD = (b"", b"ai.onnx")  # the two names of the domain of ONNX's own operators
_CONTRIBUTED = b"com.microsoft"  # domain of ONNX Runtime's own operators, of which a few are let through
_LET_THROUGH = (b"Inverse",)
_ORT_FORMAT = b"ORTM"  # bytes 4 to 8 of a file in the format of onnxruntime

# For each message, the fields that are read: what they hold, by number and kind. Protobuf ignores a field of
# another kind, and so does this check.
_HELD = {
    "model": {(7, BYTES): "graph", (8, BYTES): "opset", (20, BYTES): "training", (25, BYTES): "function"},
    "training": {(1, BYTES): "graph", (2, BYTES): "graph"},
    "graph": {(1, BYTES): "node", (5, BYTES): "tensor", (15, BYTES): "sparse"},
    "function": {
        (7, BYTES): "node",
        (9, BYTES): "opset",
        (10, BYTES): "domain",
        (11, BYTES): "attribute",
    },
    "node": {(4, BYTES): "operator", (5, BYTES): "attribute", (7, BYTES): "domain"},
    "attribute": {(number, BYTES): "tensor" for number in (5, 10)}
    | {(number, BYTES): "graph" for number in (6, 11)}
    | {(number, BYTES): "sparse" for number in (22, 23)},
    "sparse": {(1, BYTES): "tensor", (2, BYTES): "tensor"},
    "tensor": {(13, BYTES): "external", (14, VARINT): "location"},
    "opset": {(1, BYTES): "domain"},
}
_BY_TAG = {
    message: {number << 3 | kind: held for (number, kind), held in known.items()}
    for message, known in _HELD.items()
}


def check_files(files: Mapping[Path, bytes]) -> None:
    """Refuse model files that are unsafe to open, or that differ from the record in their folder.

    Args:
        files: Content of each file, by path.

    Raises:
        ModelError: A file is refused. The message states which, the value found, and the value needed.
    """
    for path, content in files.items():
        _check_hash(path, content)
        try:
            _check_content(content)
        except _RefusalError as refusal:
            raise ModelError(
                f"{path} is not opened: it {refusal}; use a model from a source you trust"
            ) from None
        except MalformedError as error:
            raise ModelError(
                f"{path} is not opened: it is not ONNX, or {error}; take the model from its source again"
            ) from None


class _RefusalError(Exception):
    """The reason to refuse a file, as the predicate of a sentence about the file."""


def _check_hash(path: Path, content: bytes) -> None:
    """Compare a file with the record in its folder, if there is one."""
    record = path.with_name("config.json")
    try:
        described = json.loads(record.read_bytes())
    except FileNotFoundError:
        return
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{record} is not JSON ({error}): take the model from its source again") from error
    if not isinstance(described, dict) or "files" not in described:
        return
    recorded = described["files"]
    wanted = recorded.get(path.name) if isinstance(recorded, dict) else None
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise ModelError(
            f"{path} has the SHA-256 {found}, needed {wanted} as recorded in {record}: the file is damaged "
            "or from another export; take the whole folder from its source again, or export it again"
        )


def _check_content(content: bytes) -> None:
    """Check the messages of a file, starting from the outermost."""
    if not 0 < len(content) <= MOST_BYTES:
        raise _RefusalError(f"has {len(content)} bytes, needed 1 to {MOST_BYTES}")
    if content[4:8] == _ORT_FORMAT:
        raise _RefusalError("is in the format of onnxruntime, needed ONNX")
    count = 0
    waiting = [("model", 0, len(content), 0)]  # (message, start, end, depth), still to read
    while waiting:
        message, start, end, depth = waiting.pop()
        held_by = _BY_TAG[message]
        domains: list[bytes] = []
        operators: list[bytes] = []
        for tag, first, last in fields(content, start, end):
            count += 1
            if count > MOST_FIELDS:
                raise _RefusalError(f"has more than {MOST_FIELDS} fields")
            held = held_by.get(tag)
            if held is None:
                continue
            if held in _BY_TAG:
                if depth == MOST_DEPTH:
                    raise _RefusalError(f"has messages nested more than {MOST_DEPTH} deep")
                waiting.append((held, first, last, depth + 1))
            elif held in ("domain", "operator"):
                (domains if held == "domain" else operators).append(content[first:last])
            elif held == "external" or any(content[first:last]):
                raise _RefusalError("has a tensor stored in another file, needed all tensors in this one")
        _check_domains(message, domains, operators)


def _check_domains(message: str, domains: list[bytes], operators: list[bytes]) -> None:
    """Check the domains of a message; ``operators`` are those of a node."""
    known = message == "opset" or (message == "node" and all(name in _LET_THROUGH for name in operators))
    for domain in domains:
        if domain not in _STANDARD and not (known and domain == _CONTRIBUTED):
            name = domain[:80].decode(errors="replace")
            raise _RefusalError(f"has operators of the domain {name!r}, needed only those of ONNX")
