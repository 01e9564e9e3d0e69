"""An estimate in one file: the encoded sample, which model encoded it and, if asked for, the sample itself.

The file is an archive of plain arrays with a checksum (see ``io.archives``). The entry ``about`` is JSON:
format, name, version and SHA-256 of the model, diagnostics, columns. The name is no path: it opens no file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.base.frame import Frame
from discoformer.base.hull import HullFrame
from discoformer.errors import InputError
from discoformer.fit import Context, Diagnostics
from discoformer.fitted import FittedDensity
from discoformer.held_sample import Reading
from discoformer.io.archives import MOST_BYTES, pack, unpack
from discoformer.io.files import read_file, write_bytes
from discoformer.onnx.sessions import Float32s
from discoformer.saved_checks import (
    check_context,
    check_diagnostics,
    check_encoded,
    check_fields,
    check_frame,
    check_type,
)

FORMAT = 6  # raised when the meaning of the entries changes
_KIND = "discoformer estimate"


@dataclass(frozen=True)
class Saved:
    """What a file holds."""

    model: str  # name of the model that encoded the sample
    version: str  # its version
    sha256: str  # hash of its files
    frame: Frame
    diagnostics: Diagnostics
    columns: tuple[str, ...] | None
    encoded: Mapping[str, Float32s]
    data: Context | None  # the sample, if it was saved
    spread: Context | None  # what is read of it
    reading: Reading


def save_estimate(path: Path, fitted: FittedDensity, sample: bool) -> None:
    """Write a file, all of it or nothing.

    Args:
        path: The file.
        fitted: What to save.
        sample: Whether to save its sample.

    Raises:
        InputError: ``sample`` is True, and the estimate was itself read from a file without its sample.
        OSError: The file cannot be written.
    """
    write_bytes(path, pack_estimate(fitted, sample))


def pack_estimate(fitted: FittedDensity, sample: bool = False) -> bytes:
    """Return the bytes of a file; see ``save_estimate``."""
    if sample and not fitted.holds_sample:
        raise InputError(
            f"sample=True needs the sample of {fitted.diagnostics.n} rows, but the estimate was read from a "
            "file without it: estimate again from the data, or save with sample=False"
        )
    metadata = fitted.metadata
    about = {
        "kind": _KIND,
        "format": FORMAT,
        "model": metadata.name,
        "version": metadata.version,
        "sha256": fitted.graphs.files(fitted.effort).sha256,
        "diagnostics": asdict(fitted.diagnostics),
        "columns": fitted.columns,
        "most_landmarks": fitted.most_landmarks,
        "landmarks_are_sample": fitted.landmarks_are_sample,
        "allow_singular": fitted.reading.allow_singular,
    }
    arrays = {f"frame.{name}": np.asarray(value) for name, value in asdict(fitted.frame).items()}
    arrays |= {f"encoded.{name}": array for name, array in fitted.encoded.arrays.items()}
    if sample or (fitted.is_spread and fitted.landmarks_are_sample):
        arrays |= {f"data.{name}": array for name, array in fitted.data._asdict().items()}
        if fitted.is_spread:
            arrays |= {f"spread.{name}": array for name, array in fitted.spread._asdict().items()}
    return pack({"about": np.array(json.dumps(about)), **arrays})


def read_estimate(path: Path) -> Saved:
    """Read a file.

    Raises:
        InputError: The file is no estimate, is damaged, holds values that no estimate has, or has a format
            that this version does not read.
        OSError: The file cannot be read.
    """
    return unpack_estimate(str(path), read_file(path, MOST_BYTES, InputError))


def unpack_estimate(name: str, content: bytes) -> Saved:
    """Return what the bytes of a file hold; ``name`` is that of messages.

    Raises:
        InputError: As in ``read_estimate``.
    """
    try:
        arrays = unpack(content)
        about = json.loads(str(arrays.pop("about")))
        if about["kind"] != _KIND:
            raise KeyError(f"kind is {about['kind']!r}")
        if about["format"] != FORMAT:
            raise InputError(
                f"{name} has format {str(about['format'])[:80]}, this version of discoformer reads {FORMAT}: "
                "estimate again from the data and save that, or use the version that wrote it"
            )
        return _read(about, arrays)
    except InputError:
        raise
    except Exception as error:  # a damaged archive may raise anything
        raise InputError(
            f"{name} is no saved estimate, or is damaged ({type(error).__name__}: {error}): save it again by "
            "Estimate.save"
        ) from error


def _read(about: Mapping[str, Any], arrays: Mapping[str, Any]) -> Saved:
    diagnostics = Diagnostics(**{name: _tuples(value) for name, value in about["diagnostics"].items()})
    check_diagnostics(diagnostics)
    reading = Reading(about["most_landmarks"], about["landmarks_are_sample"], about["allow_singular"])
    check_fields(reading)
    for name in ("model", "version", "sha256"):
        check_type(name, about[name], str)
    columns = _tuples(about["columns"])
    check_type("columns", columns, tuple[str, ...] | None)
    if columns is not None and len(columns) != diagnostics.dim:
        raise ValueError(f"{len(columns)} columns, needed {diagnostics.dim}")
    parts = {prefix: _under(f"{prefix}.", arrays) for prefix in ("encoded", "frame", "data", "spread")}
    if sum(map(len, parts.values())) != len(arrays):
        raise ValueError("arrays of unknown names")
    check_encoded(parts["encoded"], diagnostics)
    kind = HullFrame if "inverse" in parts["frame"] else Frame
    check_frame(parts["frame"], {item.name for item in fields(kind)}, diagnostics)
    if parts["data"]:
        check_context(parts["data"], diagnostics.dim, diagnostics.n)
    if parts["spread"]:
        check_context(parts["spread"], diagnostics.dim, None)
    return Saved(
        model=about["model"],
        version=about["version"],
        sha256=about["sha256"],
        frame=kind(**{name: _plain(array) for name, array in parts["frame"].items()}),
        diagnostics=diagnostics,
        columns=columns,
        encoded=parts["encoded"],
        data=Context(**parts["data"]) if parts["data"] else None,
        spread=Context(**parts["spread"]) if parts["spread"] else None,
        reading=reading,
    )


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _tuples(value: Any) -> Any:
    """Return lists, and lists in them, as tuples, and anything else as it is."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _plain(array: Any) -> Any:
    """Return a scalar as Python's, and an array as it is."""
    return array.item() if array.ndim == 0 else array
