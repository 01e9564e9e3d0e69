"""The site: the page, the model and onnxruntime-web, as files by their paths on the web."""

import shutil
from pathlib import Path

from discoformer.errors import ModelNotFoundError
from discoformer.io.files import atomic
from discoformer.play.onnxruntime_web import FILES as RUNTIME_FILES

MODEL_FILES = ("frame.onnx", "encode.onnx", "query.onnx", "config.json")
PAGE = Path(__file__).parent / "page"


def checked_model(model: Path) -> Path:
    """The folder of a model itself, if the files that the page needs are in it.

    Raises:
        ModelNotFoundError: One of them is not.
    """
    missing = [name for name in MODEL_FILES if not (model / name).is_file()]
    if missing:
        raise ModelNotFoundError(
            f"the playground needs {', '.join(MODEL_FILES)}, but {model} has no {' and no '.join(missing)}: "
            "export the model again with discoformer-export, or pass the folder of a newer one by --model"
        )
    return model


def site_files(model: Path, onnxruntime_web: Path) -> dict[str, Path]:
    """Every file of the site: paths on the web, relative to it, and the files that stand there.

    Args:
        model: Folder of a model.
        onnxruntime_web: Folder of onnxruntime-web's files.
    """
    return (
        {path.name: path for path in sorted(PAGE.iterdir())}
        | {f"model/{name}": model / name for name in MODEL_FILES}
        | {f"ort/{name}": onnxruntime_web / name for name in RUNTIME_FILES}
    )


def write_site(files: dict[str, Path], folder: Path) -> None:
    """Writes the site into a folder, to be hosted anywhere; other files there are left as they are.

    Raises:
        OSError: The folder cannot be written.
    """
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as part:
            shutil.copyfile(source, part)
