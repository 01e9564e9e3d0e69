"""Download of onnxruntime-web: once, from the npm registry, checked by its hash, into a cache folder.

Only the two files that the page needs are kept: the module with the WebAssembly backend alone, and the
WebAssembly file.
"""

import base64
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

import click

from discoformer.errors import InputError

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

_GREATEST = 2**27  # largest size of the archive, in bytes
_BLOCK = 2**18  # bytes read at a time
_PATIENCE = 60.0  # timeout in seconds


def cached(url: str = URL, integrity: str = INTEGRITY) -> Path:
    """Return the folder with the files of onnxruntime-web in the cache; download them if it does not exist.

    Args:
        url: URL of the npm package.
        integrity: Hash of the package in npm's form: ``sha512-`` and the hash in base 64.

    Raises:
        ConnectionError: The package cannot be downloaded.
        InputError: The package has another hash or other files.
        OSError: The cache cannot be written.
    """
    folder = _cache() / f"onnxruntime-web-{VERSION}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
            archive, files = Path(part) / "archive.tgz", Path(part) / "files"
            with archive.open("wb") as file:
                _fetch(url, integrity, file)
            _unpack(archive, files)
            try:
                files.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process has just written the same files
                    raise
    return checked(folder)


def checked(folder: Path) -> Path:
    """Check that a folder has the files of onnxruntime-web, and return it.

    Raises:
        InputError: A file is missing.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} must hold {' and '.join(FILES)} of onnxruntime-web, got no {name}: copy them from "
                f"the folder dist of the npm package, or remove {folder} and leave out --onnxruntime-web to "
                "download them"
            )
    return folder


def _cache() -> Path:
    """Return the cache folder of this package on this platform."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "discoformer"
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
            / "discoformer"
            / "Cache"
        )
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "discoformer"


def _fetch(url: str, integrity: str, file: IO[bytes]) -> None:
    """Download a URL to a file, and check the hash."""
    click.echo(f"Downloading onnxruntime-web {VERSION} (once): {url}", err=True)
    digest = hashlib.sha512()
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            length = min(_GREATEST, int(answer.headers.get("Content-Length") or _GREATEST))
            with click.progressbar(
                length=length, label="downloading", file=sys.stderr, hidden=not sys.stderr.isatty()
            ) as bar:
                while file.tell() < _GREATEST and (block := answer.read(_BLOCK)):
                    file.write(block)
                    digest.update(block)
                    bar.update(len(block))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(
            f"{url} cannot be downloaded ({getattr(error, 'reason', error)}): check the network and try "
            f"again, or copy {' and '.join(FILES)} of onnxruntime-web {VERSION} to a folder and pass it by "
            "--onnxruntime-web"
        ) from error
    found = f"sha512-{base64.b64encode(digest.digest()).decode()}"
    if found != integrity:
        raise InputError(
            f"{url} has the hash {found}, needed {integrity}: the download was damaged or replaced; try "
            "again, or pass a folder with files that you trust by --onnxruntime-web"
        )


def _unpack(archive: Path, folder: Path) -> None:
    """Extract the needed files of an npm package to a new folder."""
    folder.mkdir()
    with tarfile.open(archive) as packed:
        for name in FILES:
            try:
                source = packed.extractfile(f"package/dist/{name}")
            except KeyError:
                source = None
            if source is None:
                raise InputError(
                    f"{archive} must hold package/dist/{name}, got no such file: use the npm package "
                    f"onnxruntime-web {VERSION}"
                )
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
