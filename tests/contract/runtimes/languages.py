"""Headers, classes and libraries of ONNX Runtime with which the examples in C++ and Java are compiled.

The official headers and Java classes come from an npm package that redistributes ONNX Runtime for Unity,
checked by its hash. The library is that of onnxruntime-node. Both are kept between runs.
"""

import base64
import hashlib
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from measure import HERE, MissingError, npm_ci

PACKAGE = "com.github.asus4.onnxruntime@0.4.9"  # of ONNX Runtime 1.29
INTEGRITY = "sha512-BkzxduSZ9IkeDP6Q8lz2TFU2ie7hSSvS7ZIfzMooExoq0CNzJnuuGaUJ7IsojBgqO4ouD1jXah8OYyJbCN29Fg=="
ARCHIVE = "package/Plugins/Android/onnxruntime.aar"


def tool(name: str) -> str:
    """The path of a compiler."""
    if (path := shutil.which(name)) is None:
        raise MissingError(f"{name} is needed: apt-get install g++ default-jdk-headless")
    return path


def sdk() -> Path:
    """A folder with classes.jar and headers/ of ONNX Runtime."""
    place = HERE / ".releases" / PACKAGE
    if not place.is_dir():
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as made:
            packed = _packed(Path(made))
            with tarfile.open(packed) as archive, zipfile.ZipFile(archive.extractfile(ARCHIVE)) as files:
                names = [name for name in files.namelist() if name == "classes.jar" or name[:8] == "headers/"]
                files.extractall(Path(made) / "sdk", names)
            (Path(made) / "sdk").rename(place)
    return place


def _packed(folder: Path) -> Path:
    """Download the package, and check it."""
    done = subprocess.run(
        [tool("npm"), "pack", PACKAGE], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise MissingError(f"npm pack {PACKAGE} failed: {done.stderr.strip()[-500:]}")
    (path,) = folder.glob("*.tgz")
    found = f"sha512-{base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()}"
    assert found == INTEGRITY, f"{PACKAGE} has the hash {found}, needed {INTEGRITY}"
    return path


def library() -> Path:
    """The folder with the shared library of ONNX Runtime."""
    npm_ci()
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    folders = list((HERE / "node_modules" / "onnxruntime-node" / "bin").glob(f"*/linux/{machine}"))
    if not folders or platform.system() != "Linux":
        raise MissingError(f"onnxruntime-node has no library for {platform.system()} on {machine}")
    return folders[0]
