"""Find the folder of a model, by name or by path, never by network."""

import os
from pathlib import Path

from discoformer.errors import InputError, ModelNotFoundError
from discoformer.onnx.graphs import has_files
from discoformer.onnx.names import GRAPHS

DEFAULT_NAME = "base"


def find_folder(path_or_name: str | os.PathLike[str]) -> Path:
    """Find the folder of a model: a path as it is; a name in the package, else in ``models`` of the checkout.

    Raises:
        InputError: It is neither a string nor a path.
        ModelNotFoundError: There is no folder with the graph files of an effort.
    """
    if not isinstance(path_or_name, str | os.PathLike) or "\0" in str(path_or_name) or not str(path_or_name):
        raise InputError(
            f"path_or_name must be the name of a model or the path of its folder, got {path_or_name!r}"
        )
    package = Path(__file__).resolve().parents[1]
    if isinstance(path_or_name, str) and Path(path_or_name).name == path_or_name:
        candidates = [package / "models" / path_or_name, package.parents[1] / "models" / path_or_name]
        advice = (
            f"reinstall discoformer, or pass a path to a model folder ('./{path_or_name}' for one right here)"
        )
    else:
        candidates = [Path(path_or_name).resolve()]
        advice = "pass the folder that holds them, written by discoformer-export"
    for folder in candidates:
        if any(has_files(folder, effort) for effort in GRAPHS):
            return folder
    found = "; ".join(f"{folder} {_describe(folder)}" for folder in candidates)
    raise ModelNotFoundError(
        f"no model {str(path_or_name)!r} (mixture.onnx is needed, and encode.onnx and query.onnx for "
        f"effort='best'): {found}; {advice}"
    )


def _describe(folder: Path) -> str:
    if not folder.is_dir():
        return "is not a folder" if folder.exists() else "does not exist"
    return "holds " + (", ".join(sorted(item.name for item in folder.iterdir())) or "nothing")
