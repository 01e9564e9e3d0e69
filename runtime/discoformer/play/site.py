"""The files of the site: the page, the model and onnxruntime-web."""

import shutil
from pathlib import Path

from discoformer.errors import ModelNotFoundError
from discoformer.io.files import atomic
from discoformer.onnx.header import checked_metadata
from discoformer.onnx.model_files import ModelFiles
from discoformer.onnx.names import RAW
from discoformer.play.onnxruntime_web import FILES as RUNTIME_FILES

MODEL_FILES = (RAW.file, "config.json")
PAGE = Path(__file__).parent / "page"


def checked_model(model: Path) -> Path:
    """Check that a model folder has the files that the page needs, and return it.

    Raises:
        ModelError: discoformer.onnx does not give the mixture, or is not usable.
        ModelNotFoundError: A file is missing.
    """
    missing = [name for name in MODEL_FILES if not (model / name).is_file()]
    if missing:
        raise ModelNotFoundError(
            f"the playground needs {' and '.join(MODEL_FILES)}, but {model} has no "
            f"{' and no '.join(missing)}: export the model again with discoformer-export, or pass the folder "
            "of a newer model by --model"
        )
    path = model / RAW.file
    checked_metadata(path, ModelFiles(model).read(RAW.file), RAW)
    return model


def site_files(model: Path, onnxruntime_web: Path) -> dict[str, Path]:
    """Return the files of the site by their URL paths, relative to the page.

    Args:
        model: Folder of the model.
        onnxruntime_web: Folder with the files of onnxruntime-web.
    """
    return (
        {path.name: path for path in sorted(PAGE.iterdir())}
        | {f"model/{name}": model / name for name in MODEL_FILES}
        | {f"ort/{name}": onnxruntime_web / name for name in RUNTIME_FILES}
    )


def write_site(files: dict[str, Path], folder: Path) -> None:
    """Write the site to a folder, for any web server. Other files in the folder are kept.

    Args:
        files: The files by their URL paths, as returned by ``site_files``.
        folder: The folder. It is created if it does not exist.

    Raises:
        OSError: The folder cannot be written.
    """
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as file, source.open("rb") as given:
            shutil.copyfileobj(given, file)
