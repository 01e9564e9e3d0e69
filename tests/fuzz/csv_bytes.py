"""Bytes that are read as a table in text: a finite table, or an error of the package, in bounded time.

A case changes a valid file at random places, or strings together pieces that are hard to read.
"""

import io
import random
import sys
import time
from functools import partial

import numpy as np

from discoformer.errors import InputError
from discoformer.io.tables import read_table
from discoformer.io.text import STDIN, ReadOptions
from tests.fuzz.common import tried

SLOWEST = 2.0  # seconds
VALID = (
    b"a,b\n1,2\n3.5,-4e3\n5,6\n",
    b"x;y;z\n1,5;2,25;3\n4,5;5,25;6\n",
    b"# comment\n# u v\n1 2\n3  4\n 5 6\n",
    b"name\tvalue\nred\t1.5\nblue\tNA\ngreen\t3\n",
    b"\xef\xbb\xbf0,1,2\n1,2,3\n4,,6\n7,8,9\n",
    b'"a, b","c ""d"""\r\n"1","2"\r\n"3","4"\r\n',
    b"2020,2021\n1.5,2.5\n3.5,4.5\n5.5,6.5\n",
    b"1\n2\n\n4\n",
)
PIECES = (
    *(b",", b";", b"\t", b" ", b"\n", b"\r", b"\r\n", b'"', b'""', b"#", b"\0", b"\x1a", b"\x0b", b"\\"),
    *(b"1", b"-2.5", b"1,5", b"1e308", b"1e309", b"-1e-320", b"nan", b"inf", b"-inf", b"NA", b"null", b"?"),
    *(b"1_000", b"0x10", b"1e", b".", b"-", b"+", b"'", b"a", b"x" * 300, b"9" * 400, b"1" * 5000, b"\x0c"),
    *(b"\xe2\x80\xa8", b"\xd9\xa1", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xf0\x9f\x98\x80"),
    *(b"1\xa0", b"\xc2\x85"),
)
ENCODINGS = (
    "utf-8",
    "utf-8",
    "utf-8",
    "latin-1",
    "utf-16",
    "utf-32",
    "cp1252",
    "ascii",
    "utf-7",
    "idna",
    "x",
)


def draw(number: int) -> tuple[bytes, ReadOptions]:
    """Draw the bytes and the options of a case."""
    rng = random.Random(number)
    if rng.random() < 0.5:
        content = bytearray(rng.choice(VALID))
        for _ in range(rng.randint(1, 6)):
            at, end = sorted(rng.choices(range(len(content) + 1), k=2))
            change = rng.randrange(4)
            if change == 0:
                content[at : at + 1] = bytes([rng.randrange(256)])
            elif change == 1:
                content[at:at] = rng.choice(PIECES)
            elif change == 2:
                del content[at:end]
            else:
                content[end:end] = content[at:end]
    else:
        content = bytearray(b"".join(rng.choices(PIECES, k=rng.randint(0, 60))))
    options = ReadOptions(
        rng.choice(ENCODINGS),
        rng.choice([None, None, True, False]),
        rng.choice([None, None, ".", ","]),
        rng.choice(["drop", "error", "keep"]),  # type: ignore[arg-type]
    )
    return bytes(content), options


def check(number: int) -> str:
    """Read the case of a number from stdin; return whether it is a table or refused."""
    content, options = draw(number)
    stdin, begun = sys.stdin, time.process_time()
    sys.stdin = io.TextIOWrapper(io.BytesIO(content))
    try:
        table = read_table(STDIN, None, options)
    except InputError:
        return "refused"
    finally:
        sys.stdin = stdin
        assert time.process_time() - begun < SLOWEST, "it took too long"
    assert table.values.ndim == 2, "it is no matrix"
    assert table.values.size, "it is empty"
    assert not np.isinf(table.values).any(), "a number is infinite"
    assert options.missing == "keep" or np.isfinite(table.values).all(), "a number is missing"
    names = table.columns
    assert names is None or len(set(names)) == len(names) == table.values.shape[1], "the names do not fit"
    return "read"


run = partial(tried, check)
