"""Bodies of HTTP requests to a served estimate and a served model: an answer, or an error of the package.

A case changes a valid body at random places, or its JSON, its sizes and its numbers. Answers are finite,
and of the shape that they say.
"""

import json
import random
import time
from copy import deepcopy
from functools import cache, partial
from typing import Any

import numpy as np

import discoformer
from discoformer.errors import InputError
from discoformer.serve.answering import Call, answer
from discoformer.serve.jobs import Job
from discoformer.serve.limits import Limits
from discoformer.serve.served import Served, ServedEstimate, ServedModel
from discoformer.serve.tensors import DATATYPES
from tests.fuzz.common import MODEL, tried

LIMITS = Limits(body=2**20, json=2**16, rows=1000, columns=8, seconds=20)
SLOWEST = 5.0  # seconds
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        16,
        24,
        2**31,
        2**63,
        -(2**63),
        10**30,
        0.5,
        -0.0,
        1e308,
        1e-320,
        1e400,
    ),
    *(
        "",
        "FP64",
        "FP32",
        "INT8",
        "queries",
        "context",
        "log_weights",
        "score",
        "best",
        "fast",
        "none",
        "\0",
        "\ud800",
    ),
    *(
        [],
        {},
        [[]],
        [1, 2],
        [[1.0, 2.0]],
        [2, 1, 2],
        [-1, 2],
        {"binary_data_size": 16},
        {"binary_data": True},
    ),
)


@cache
def served() -> tuple[Served, ...]:
    """An estimate of 30 points in 2-D by either effort, and the model."""
    model = discoformer.load(MODEL, "cpu", 1)
    x = np.random.default_rng(0).normal(size=(30, 2))
    efforts = [ServedEstimate(effort, model.estimate(x, effort=effort)) for effort in ("best", "fast")]
    return *efforts, ServedModel("base", model)


def item(name: str, array: np.ndarray, rng: random.Random) -> tuple[dict[str, Any], bytes]:
    """A tensor of a request, in JSON or in binary."""
    array = array.astype(rng.choice([np.float64, np.float32]))
    head: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": f"FP{8 * array.itemsize}"}
    if rng.random() < 0.5:
        return head | {"data": rng.choice([array.tolist(), array.ravel().tolist()])}, b""
    return head | {"parameters": {"binary_data_size": array.nbytes}}, array.tobytes()


def valid(target: Served, rng: random.Random) -> tuple[dict[str, Any], bytes]:
    """A request that is answered: its JSON, and the bytes that follow."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    arrays = {"queries": numbers.normal(size=(rng.randrange(4), 2))}
    parameters: dict[str, Any] = {}
    if isinstance(target, ServedModel):
        batch, rows, dim = rng.randint(1, 3), rng.randint(2, 20), rng.randint(1, 3)
        arrays = {
            "context": numbers.normal(size=(batch, rows, dim)),
            "queries": numbers.normal(size=(batch, rng.randrange(4), dim)),
        }
        if rng.random() < 0.3:
            arrays["log_weights"] = numbers.normal(size=(batch, rows))
        parameters = {"effort": rng.choice(["best", "fast"])}
    items = [item(name, array, rng) for name, array in arrays.items()]
    document = {"id": "a", "inputs": [head for head, _ in items], "parameters": parameters}
    if rng.random() < 0.5:
        document["outputs"] = [{"name": "score", "parameters": {"binary_data": rng.random() < 0.5}}]
    return document, b"".join(content for _, content in items)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every object or list inside a value, with each of its keys or positions."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


def draw(number: int) -> Call:
    """Draw a case."""
    rng = random.Random(number)
    target = rng.choice(served())
    document, content = valid(target, rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        inside, key = rng.choice(places(document))
        if isinstance(inside, dict) and rng.random() < 0.2:
            inside[rng.choice([key, "name", "shape", "data", "parameters"])] = deepcopy(rng.choice(VALUES))
        elif rng.random() < 0.2:
            del inside[key]
        else:
            inside[key] = deepcopy(rng.choice(VALUES))
    head = json.dumps(document).encode()
    body = bytearray(head + content)
    length: int | None = len(head) if content or rng.random() < 0.5 else None
    for _ in range(rng.choice([0, 0, 1, 3])):
        at, end = sorted(rng.choices(range(len(body) + 1), k=2))
        change = rng.randrange(4)
        if change == 0:
            body[at : at + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            body[at:at] = rng.choice([b"\0", b"[" * 2000, b"NaN", b"1e999", b"9" * 5000, b'"', b"\xff\xfe"])
        elif change == 2:
            del body[at : min(end, at + 20)]
        else:
            length = rng.choice([None, 0, 1, at, len(body), 2**40])
    return Call(target, bytes(body), length, Job(LIMITS.seconds))


def check(number: int) -> str:
    """Answer the case of a number; return whether it is answered or refused."""
    call, begun = draw(number), time.process_time()
    try:
        reply = answer(call, LIMITS).reply
    except InputError:
        return "refused"
    finally:
        assert time.process_time() - begun < SLOWEST, "it took too long"
    end = len(reply.body) if reply.json_length is None else reply.json_length
    document, rest = json.loads(reply.body[:end], parse_constant=int), reply.body[end:]
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        dtype = DATATYPES[output["datatype"]]
        values = np.frombuffer(rest[:size], dtype) if size else np.array(output.get("data", []))
        assert np.isfinite(values).all(), "an answer is not finite"
        assert values.size == np.prod(output["shape"]), "an answer has another shape"
        rest = rest[size:]
    assert not rest, "bytes are left"
    return "answered"


run = partial(tried, check)
