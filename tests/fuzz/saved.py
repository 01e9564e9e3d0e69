"""Saved estimates of a stranger, with a good checksum: they are refused, or answer with finite numbers.

Arrays are changed in value, shape, dtype and name, the description in its entries, the archive in its form.
"""

import hashlib
import io
import json
import random
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import discoformer
from discoformer.errors import DiscoformerError
from discoformer.io.archives import read_arrays
from tests.fuzz.common import MODEL, Report, cases, most_memory, start_measuring

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    10**400,
    -0.5,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "base",
    "../../etc/passwd",
    "\ud800",
    [],
    [[]],
    [1, 2],
    {},
    {"a": 1},
)


def run(seed: int, deadline: float, count: int) -> Report:
    """Change saved estimates of both efforts."""
    report = Report()
    model = discoformer.load(MODEL, "cpu", 1)
    x = np.random.default_rng(seed).normal(size=(40, 2))
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about numbers out of range
        path, originals = Path(name) / "p", []
        for effort in ("best", "fast"):
            model.estimate(x, effort=effort).save(path, sample=True)  # type: ignore[arg-type]
            originals.append(read_arrays(path))
        size = path.stat().st_size / 2**20
        for number, case in cases(seed, deadline, count):
            rng = random.Random(case)
            content = _changed(originals[number % 2], rng)
            path.write_bytes(content)
            before, start = start_measuring(), time.process_time()
            try:
                p = discoformer.load_estimate(path, model)
                answers = p.log_density_and_score(x[:5])
                good = all(np.isfinite(array).all() for array in answers)
                report.outcomes["answers" if good else "answers that are not finite"] += 1
                if not good:
                    report.fail(f"seed {case}: answers that are not finite")
            except (DiscoformerError, OSError) as error:
                report.outcomes[type(error).__name__] += 1
            except Exception as error:  # whatever else there is
                report.outcomes["foreign error"] += 1
                report.fail(f"seed {case}: {type(error).__name__}: {str(error)[:200]}")
            report.slowest = max(report.slowest, time.process_time() - start)
            taken = most_memory() - before
            report.greatest = max(report.greatest, taken)
            if taken > 2 * max(size, len(content) / 2**20) + 100:
                report.fail(f"seed {case}: {taken:.0f} MB")
    return report


def _changed(arrays: dict[str, Any], rng: random.Random) -> bytes:
    arrays = dict(arrays)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice((_change_array, _change_array, _change_about))(arrays, rng)
    form = rng.random()
    if form < 0.7:
        return _packed(arrays)
    return rng.choice((_compressed, _with_false_header, _twice, _with_false_bytes))(arrays, rng)


def _change_about(arrays: dict[str, Any], rng: random.Random) -> None:
    try:
        about = json.loads(str(arrays["about"]))
    except RecursionError:  # as it was made by another change
        return
    inner = about.get("diagnostics") if rng.random() < 0.6 else about
    inner = inner if isinstance(inner, dict) else about
    key = rng.choice([*inner, "more"])
    if rng.random() < 0.1:
        inner.pop(key, None)
    else:
        inner[key] = rng.choice(VALUES)
    text = json.dumps(about)
    arrays["about"] = np.array("[" * 100_000 if rng.random() < 0.02 else text)


def _change_array(arrays: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice([name for name in arrays if name != "about"])
    array = np.array(arrays[name])
    if array.dtype.kind != "f":
        arrays[name] = np.array(rng.choice(("", "whitened", "other", "x" * 10**5)))
        return
    changes: tuple[Callable[[], Any], ...] = (
        lambda: _filled(array, rng),
        lambda: array * rng.choice((-1, 0, 1e-30, 1e30)),
        lambda: array.astype(
            rng.choice((np.float16, np.float64, np.int64, np.complex64, np.bool_, "U5", "S5"))
        ),
        lambda: np.atleast_1d(array)[..., :0],
        lambda: array[None],
        array.ravel,
        lambda: np.concatenate([np.atleast_1d(array)] * 2),
        lambda: array.T,
        lambda: np.zeros(rng.choice(((), (0,), (10**6,), (1, 40, 2), (3, 3)))),
    )
    with np.errstate(all="ignore"):
        arrays[name] = rng.choice(changes)()
    if rng.random() < 0.1:
        arrays[rng.choice((f"{name}x", "frame.inverse", "data.", "", "/etc/passwd"))] = arrays.pop(name)


def _filled(array: Any, rng: random.Random) -> Any:
    array = np.atleast_1d(array).copy()
    array.ravel()[rng.randrange(max(1, array.size)) :: rng.choice((1, 7, 10**9))] = rng.choice(
        (np.nan, np.inf, -np.inf, -1, 0, 1e38, -1e38)
    )
    return array


def _packed(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return _signed(file.getvalue())


def _signed(content: bytes) -> bytes:
    body = content[:-2] + (64).to_bytes(2, "little")
    return body + hashlib.sha256(body).hexdigest().encode()


def _compressed(arrays: dict[str, Any], rng: random.Random) -> bytes:
    """A small archive of large arrays."""
    file = io.BytesIO()
    name = rng.choice(list(arrays))
    np.savez_compressed(file, **{**arrays, name: np.zeros(5 * 10**6)})
    return _signed(file.getvalue())


def _with_false_header(arrays: dict[str, Any], rng: random.Random) -> bytes:
    """An array whose header claims any shape."""
    shape = rng.choice(((2**40,), (2**31, 2**31), (-1,), (10**9, 0), (1,) * 60, "x", None, (2.5,)))
    descr = rng.choice(("<f4", "<f8", "|O", "<U1000000", "<f4,<f4", "|V0", "bad"))
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
    return _with_entry(arrays, rng.choice(list(arrays)), npy)


def _with_false_bytes(arrays: dict[str, Any], rng: random.Random) -> bytes:
    """Bits of the archive flipped, and signed again."""
    content = bytearray(_packed(arrays)[:-64])
    for _ in range(rng.randint(1, 5)):
        start = rng.choice((0, max(0, len(content) - 3000)))  # of arrays, or of the directory
        content[rng.randrange(start, len(content) - 2)] ^= 1 << rng.randrange(8)
    return _signed(bytes(content))


def _twice(arrays: dict[str, Any], rng: random.Random) -> bytes:
    """An archive with an entry of a name that is already there."""
    name = rng.choice(list(arrays))
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return _with_entry(arrays, name, file.getvalue(), keep=True)


def _with_entry(arrays: dict[str, Any], name: str, npy: bytes, *, keep: bool = False) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{key: array for key, array in arrays.items() if keep or key != name})
    with zipfile.ZipFile(file, "a") as archive:
        info = zipfile.ZipInfo(f"{name}.npy")
        archive.NameToInfo.pop(info.filename, None)
        archive.writestr(info, npy)
    return _signed(file.getvalue())
