"""The wire format of protobuf, the encoding of ONNX files: read and write the fields of a message.

A message is a sequence of fields. A field is a tag, ``number << 3 | kind``, and a value. The kind tells how
the value is stored: as a varint, in 8 or 4 bytes, or as a length and that many bytes. A varint is a whole
number with 7 bits in each byte, the lowest bits first; in all bytes but the last the highest bit is set.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # the kinds of values; ONNX has no groups (3 and 4)


class MalformedError(ValueError):
    """The bytes are not a message. The text is an adjective and a place, such as "damaged at byte 3"."""


def fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the tag, and the start and end of the value, of each field of a message.

    Args:
        content: The bytes that hold the message.
        start: Position of its first byte.
        end: Position after its last byte.

    Raises:
        MalformedError: The bytes are not a message.
    """
    position = start
    try:
        while position < end:
            tag, first = content[position], position + 1
            if tag > 127:
                tag, first = read_varint(content, position)
            kind = tag & 7
            if kind == BYTES:
                size, first = content[first], first + 1
                if size > 127:
                    size, first = read_varint(content, first - 1)
                position = first + size
            elif kind == VARINT:
                _, position = read_varint(content, first)
            elif kind in (FIXED32, FIXED64):
                position = first + (4 if kind == FIXED32 else 8)
            else:
                raise MalformedError(f"damaged at byte {position}")
            if position > end or not 8 <= tag < 2**32:
                raise MalformedError(f"damaged before byte {end}")
            yield tag, first, position
    except IndexError:
        raise MalformedError(f"cut short at byte {len(content)}") from None


def read_varint(content: bytes, position: int) -> tuple[int, int]:
    """Return the varint at a position, and the position after it.

    Raises:
        MalformedError: It has too many bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise MalformedError(f"damaged at byte {position}")


def bytes_field(tag: int, value: bytes) -> bytes:
    """Return a field of kind ``BYTES`` with a tag below 128."""
    return bytes([tag]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
