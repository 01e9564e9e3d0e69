"""Model files are looked through before they are opened: a model may come from anyone.

An ONNX file is a protobuf message, ``ModelProto``: fields, each with a tag (its number and how it is stored)
and a value, which may be a message itself. The walk follows every message that could hold an operator or a
tensor, skips the rest, and refuses what no graph of this project has:

- tensors outside the file: their path could be that of any file of the user,
- operators that are not ONNX's own: they come with libraries, which could do anything,
- onnxruntime's own format, damage, and sizes or nesting out of proportion.

Beside the files, ``config.json`` may record their hashes, ``"files": {name: SHA-256}``: then they must agree.
That finds damaged and mixed up files, not forged ones, since who changes a file can change the record.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from discoformer.errors import ModelError

MOST_BYTES = 2**28  # of a file
MOST_DEPTH = 64  # messages within messages
MOST_FIELDS = 2**21  # of the messages that are walked

_STANDARD = (b"", b"ai.onnx")  # the names of ONNX's own domain
_ORT_FORMAT = b"ORTM"  # bytes 4 to 8 of a file that onnxruntime takes for its own format
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how a value is stored; ONNX has no groups (3 and 4)

# The fields that are walked, of each message: what they hold, by their number and how they are stored. One
# stored in another way is a field that protobuf does not know, and passes over.
_HELD = {
    "model": {(7, _BYTES): "graph", (8, _BYTES): "opset", (20, _BYTES): "training", (25, _BYTES): "function"},
    "training": {(1, _BYTES): "graph", (2, _BYTES): "graph"},
    "graph": {(1, _BYTES): "node", (5, _BYTES): "tensor", (15, _BYTES): "sparse"},
    "function": {
        (7, _BYTES): "node",
        (9, _BYTES): "opset",
        (10, _BYTES): "domain",
        (11, _BYTES): "attribute",
    },
    "node": {(5, _BYTES): "attribute", (7, _BYTES): "domain"},
    "attribute": {(number, _BYTES): "tensor" for number in (5, 10)}
    | {(number, _BYTES): "graph" for number in (6, 11)}
    | {(number, _BYTES): "sparse" for number in (22, 23)},
    "sparse": {(1, _BYTES): "tensor", (2, _BYTES): "tensor"},
    "tensor": {(13, _BYTES): "external", (14, _VARINT): "location"},
    "opset": {(1, _BYTES): "domain"},
}
_BY_TAG = {
    kind: {number << 3 | stored: held for (number, stored), held in fields.items()}
    for kind, fields in _HELD.items()
}


def check_files(files: Mapping[Path, bytes]) -> None:
    """Refuses model files that are not safe to open, or not those that their folder records.

    Args:
        files: What was read, by where it was read from.

    Raises:
        ModelError: A file is refused; the message says which, what was found, and what is needed.
    """
    for path, content in files.items():
        _check_hash(path, content)
        try:
            _check_content(content)
        except _RefusalError as refusal:
            raise ModelError(
                f"{path} is not opened: it {refusal}; take a model from a source you trust"
            ) from None


class _RefusalError(Exception):
    """What is wrong with a file, as the rest of a sentence."""


def _check_hash(path: Path, content: bytes) -> None:
    """Compares a file with the record beside it, where there is one."""
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
            f"{path} has the SHA-256 {found}, needed {wanted} as {record} records: the file is damaged or of "
            "another export; take the whole folder from its source again, or export it again"
        )


def _check_content(content: bytes) -> None:
    if not 0 < len(content) <= MOST_BYTES:
        raise _RefusalError(f"has {len(content)} bytes, needed 1 to {MOST_BYTES}")
    if content[4:8] == _ORT_FORMAT:
        raise _RefusalError("is in onnxruntime's own format, needed ONNX")
    fields = 0
    waiting = [("model", 0, len(content), 0)]  # messages: what they are, where they begin and end, how deep
    while waiting:
        kind, start, end, depth = waiting.pop()
        held_by = _BY_TAG[kind]
        for tag, first, last in walk(content, start, end):
            fields += 1
            if fields > MOST_FIELDS:
                raise _RefusalError(f"has more than {MOST_FIELDS} fields")
            held = held_by.get(tag)
            if held is None:
                continue
            if held in _BY_TAG:
                if depth == MOST_DEPTH:
                    raise _RefusalError(f"has messages more than {MOST_DEPTH} deep")
                waiting.append((held, first, last, depth + 1))
            elif held == "domain":
                if content[first:last] not in _STANDARD:
                    domain = content[first:last][:80].decode(errors="replace")
                    raise _RefusalError(f"has operators of the domain {domain!r}, needed none but ONNX's own")
            elif held == "external" or any(content[first:last]):
                raise _RefusalError("has a tensor that lies in another file, needed all of them within")


def walk(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Tags of the fields of the message between two positions, and where their values begin and end."""
    position = start
    try:
        while position < end:
            tag, first = content[position], position + 1
            if tag > 127:
                tag, first = _varint(content, position)
            stored = tag & 7
            if stored == _BYTES:
                size, first = content[first], first + 1
                if size > 127:
                    size, first = _varint(content, first - 1)
                position = first + size
            elif stored == _VARINT:
                _, position = _varint(content, first)
            elif stored in (_FIXED32, _FIXED64):
                position = first + (4 if stored == _FIXED32 else 8)
            else:
                raise _RefusalError(f"is no ONNX, or damaged at byte {position}")
            if position > end or not 8 <= tag < 2**32:
                raise _RefusalError(f"is no ONNX, or damaged before byte {end}")
            yield tag, first, position
    except IndexError:
        raise _RefusalError(f"is no ONNX, or cut short at byte {len(content)}") from None


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A whole number, 7 bits to a byte, the last one below 128; and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise _RefusalError(f"is no ONNX, or damaged at byte {position}")
