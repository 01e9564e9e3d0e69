"""What the wheel and the source distribution hold, and that their bytes depend on the sources alone."""

import email
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSION = PROJECT["version"]
SOURCES = ("runtime", "training", "export")  # folders of packages

# A line for each kind of file. All of them are there, and nothing else is; * stands for folders, too.
WHEEL = (
    "discoformer/*.py",
    "discoformer/py.typed",
    "discoformer/play/page/*.css",
    "discoformer/play/page/*.html",
    "discoformer/play/page/*.js",
    "discoformer/play/page/licences.txt",
    "discoformer/play/package/*.d.ts",
    "discoformer/play/package/*.js",
    "discoformer/models/base/adaptation.safetensors",
    "discoformer/models/base/config.json",
    "discoformer/models/base/discoformer.onnx",
    "discoformer/models/base/encode.onnx",
    "discoformer/models/base/mixture.onnx",
    "discoformer/models/base/query.onnx",
    "discoformer/models/base/weights.safetensors",
    "discoformer_export/*.py",
    "discoformer_export/py.typed",
    "discoformer_training/*.py",
    "discoformer_training/py.typed",
    f"discoformer-{VERSION}.dist-info/METADATA",
    f"discoformer-{VERSION}.dist-info/RECORD",
    f"discoformer-{VERSION}.dist-info/WHEEL",
    f"discoformer-{VERSION}.dist-info/entry_points.txt",
    f"discoformer-{VERSION}.dist-info/licenses/LICENSE",
)
SDIST = (
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "constraints.txt",
    "export/discoformer_export/*.py",
    "export/discoformer_export/py.typed",
    "js/src/*.d.ts",
    "js/src/*.js",
    "models/CHANGELOG.md",
    "models/*/README.md",
    "models/*/config.json",
    "models/*/*.onnx",
    "models/*/*.safetensors",
    "pyproject.toml",
    "runtime/discoformer/*.py",
    "runtime/discoformer/py.typed",
    "runtime/discoformer/play/page/*.css",
    "runtime/discoformer/play/page/*.html",
    "runtime/discoformer/play/page/*.js",
    "runtime/discoformer/play/page/licences.txt",
    "training/LOG.md",
    "training/discoformer_training/*.py",
    "training/discoformer_training/py.typed",
    "training/log/*.md",
    "training/recipes/*.json",
)
MOST_MIB = 12  # of either; a package index takes 100


def build(target: str, source: Path, folder: Path) -> Path:
    """Build a "wheel" or an "sdist" of a folder into another."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def unpacked(sdist: Path, folder: Path, age: float) -> Path:
    """Unpack a source distribution into a folder, its files of a certain age in seconds since 1970."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xzf", sdist, "-C", folder], check=True)
    (source,) = folder.iterdir()
    for path in source.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (age, age))
    return source


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def differences(names: Iterable[str], patterns: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names that match no pattern, and the patterns that match no name."""
    names, patterns = list(names), list(patterns)
    matched = {name: [pattern for pattern in patterns if fnmatchcase(name, pattern)] for name in names}
    used = {pattern for found in matched.values() for pattern in found}
    return [name for name, found in matched.items() if not found], [p for p in patterns if p not in used]


def test_a_file_too_many_and_a_file_too_few_would_be_found() -> None:
    assert differences(["a/b/c.py", "a.txt"], ["a/*.py", "b.txt"]) == (["a.txt"], ["b.txt"])


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_the_model(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert differences(names, WHEEL) == ([], []), "a line in WHEEL for what belongs there"
    modules = {
        path.relative_to(ROOT / folder) for folder in SOURCES for path in (ROOT / folder).glob("*/**/*.py")
    }
    assert {Path(name) for name in names if name.endswith(".py")} == modules
    assert wheel.name == f"discoformer-{VERSION}-py3-none-any.whl"
    assert wheel.stat().st_size < MOST_MIB * 2**20


@pytest.mark.slow
def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"discoformer-{VERSION}.dist-info/METADATA"))
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra", [])) == PROJECT["optional-dependencies"].keys()
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(always) == sorted(PROJECT["dependencies"])


@pytest.mark.slow
def test_the_source_distribution_holds_what_builds_the_wheel(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [item.name.partition("/")[2] for item in archive.getmembers() if item.isfile()]
    assert differences(names, SDIST) == ([], []), "a line in SDIST for what belongs there"
    assert sdist.stat().st_size < MOST_MIB * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("age", [3e8, 1.6e9])
def test_the_same_sources_give_the_same_bytes(wheel: Path, sdist: Path, tmp_path: Path, age: float) -> None:
    """In another folder, at another time, with other permissions, and from the source distribution."""
    source = unpacked(sdist, tmp_path / "in" / str(age), age)
    assert build("wheel", source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()
    assert build("sdist", source, tmp_path / "sdist").read_bytes() == sdist.read_bytes()
