"""An estimate in one file: the encoded context, and which model encoded it.

It is a NumPy ``.npz`` archive of plain arrays, the sample among them, whatever its name: no pickle, so
reading it runs no code. The entry ``about`` is JSON: format, model with its SHA-256, diagnostics, columns.
Archives carry checksums, so a damaged file is an error.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from discoformer.base.frame import Frame
from discoformer.errors import InputError
from discoformer.io.files import atomic
from discoformer.onnx.graphs import GIVEN, STATES
from discoformer.onnx.sessions import Float32s

FORMAT = 1  # raised when the meaning of the entries changes
_KIND = "discoformer estimate"


@dataclass(frozen=True)
class Saved:
    """What a file holds."""

    model: str  # name of the model that encoded the context
    version: str  # its version
    sha256: str  # hash of its files
    frame: Frame
    diagnostics: dict[str, Any]
    columns: tuple[str, ...] | None
    encoded: Mapping[str, Float32s]


def save_estimate(path: Path, saved: Saved) -> None:
    """Writes a file, all of it or nothing.

    Raises:
        OSError: The file cannot be written.
    """
    about = {
        "kind": _KIND,
        "format": FORMAT,
        "model": saved.model,
        "version": saved.version,
        "sha256": saved.sha256,
        "diagnostics": saved.diagnostics,
        "columns": saved.columns,
    }
    arrays = {f"frame.{name}": np.asarray(value) for name, value in asdict(saved.frame).items()}
    arrays |= {f"encoded.{name}": array for name, array in saved.encoded.items()}
    with atomic(path) as part, part.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def read_estimate(path: Path) -> Saved:
    """Reads a file.

    Raises:
        InputError: The file is no estimate, is damaged, or has the format of another version.
        OSError: The file cannot be read.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            if about["kind"] != _KIND:
                raise KeyError(f"kind is {about['kind']!r}")
            if about["format"] != FORMAT:
                raise InputError(
                    f"{path} has format {about['format']}, this version of discoformer reads {FORMAT}: "
                    "estimate again from the data and save that, or use the version that wrote it"
                )
            arrays = {name: archive[name] for name in archive.files}
            encoded = {
                name.removeprefix("encoded."): array
                for name, array in arrays.items()
                if name.startswith("encoded.")
            }
            if encoded.keys() != GIVEN | STATES:
                raise KeyError(", ".join(sorted(encoded.keys() ^ (GIVEN | STATES))))
            frame = Frame(**{item.name: _plain(arrays[f"frame.{item.name}"]) for item in fields(Frame)})
            return Saved(
                model=about["model"],
                version=about["version"],
                sha256=about["sha256"],
                frame=frame,
                diagnostics=about["diagnostics"] | {"warnings": tuple(about["diagnostics"]["warnings"])},
                columns=None if about["columns"] is None else tuple(about["columns"]),
                encoded=encoded,
            )
    except InputError:
        raise
    except Exception as error:  # a damaged archive may raise anything
        raise InputError(
            f"{path} is no saved estimate, or is damaged ({type(error).__name__}: {error}): save it again by "
            "Estimate.save"
        ) from error


def _plain(array: Any) -> Any:
    """Scalars as Python's, arrays as they are."""
    return array.item() if array.ndim == 0 else array
