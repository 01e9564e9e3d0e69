"""The files of the site: the page, the JavaScript package, the model and onnxruntime-web."""

import shutil
from pathlib import Path

from discoformer.errors import ModelNotFoundError
from discoformer.io.files import atomic
from discoformer.onnx.header import checked_metadata
from discoformer.onnx.model_files import ModelFiles
from discoformer.onnx.names import GRAPHS
from discoformer.play.onnxruntime_web import FILES as RUNTIME_FILES

(GRAPH,) = GRAPHS["fast"]
PAGE = Path(__file__).parent / "page"


def package() -> Path:
    """Return the folder with the modules of the JavaScript package: in this package, else in the checkout."""
    installed = Path(__file__).resolve().parent / "package"
    return installed if installed.is_dir() else installed.parents[3] / "js" / "src"


def checked_model(model: Path) -> Path:
    """Check that a model folder has the graph that the page needs, and return it.

    Raises:
        ModelError: The graph does not give the mixture, or is not usable.
        ModelNotFoundError: The file is missing.
    """
    path = model / GRAPH.file
    if not path.is_file():
        raise ModelNotFoundError(
            f"the playground needs {GRAPH.file}, but {model} has no such file: export the model again with "
            "discoformer-export, or pass the folder of a newer model by --model"
        )
    checked_metadata(path, ModelFiles(model).read(GRAPH.file), GRAPH)
    return model


def site_files(model: Path, onnxruntime_web: Path) -> dict[str, Path]:
    """Return the files of the site by their URL paths, relative to the page.

    Args:
        model: Folder of the model.
        onnxruntime_web: Folder with the files of onnxruntime-web.
    """
    modules = package()
    return (
        {path.name: path for path in sorted(PAGE.iterdir())}
        | {f"discoformer/{path.relative_to(modules).as_posix()}": path for path in modules.rglob("*.js")}
        | {f"model/{GRAPH.file}": model / GRAPH.file}
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
