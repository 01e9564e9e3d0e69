"""onnxruntime-web: fetched once from the npm registry, checked, and kept in a cache folder.

Only the two files that the page needs are kept: the module without other backends, and the WebAssembly.
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

_GREATEST = 2**27  # bytes of an archive, at most
_BLOCK = 2**18  # bytes read at a time
_PATIENCE = 60.0  # seconds without an answer


def cached(url: str = URL, integrity: str = INTEGRITY) -> Path:
    """The folder of onnxruntime-web's files in the cache, fetched if it is not there.

    Args:
        url: Where the archive is, as npm packs it.
        integrity: Its hash, as npm writes it: ``sha512-`` and the hash in base 64.

    Raises:
        ConnectionError: The archive cannot be had.
        InputError: It is another one than expected.
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
                if not folder.is_dir():  # another process was faster, and its files are the same
                    raise
    return checked(folder)


def checked(folder: Path) -> Path:
    """The folder itself, if the files are in it.

    Raises:
        InputError: One of them is not.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} must hold {' and '.join(FILES)} of onnxruntime-web, got no {name}: take them from "
                f"the folder dist of the npm package, or remove {folder} and leave --onnxruntime-web out to "
                "have them fetched"
            )
    return folder


def _cache() -> Path:
    """Where this platform keeps what may be fetched again."""
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
    """Writes what is at a URL to a file, and checks its hash."""
    click.echo(f"Fetching onnxruntime-web {VERSION} (once): {url}", err=True)
    digest = hashlib.sha512()
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            length = min(_GREATEST, int(answer.headers.get("Content-Length") or _GREATEST))
            with click.progressbar(
                length=length, label="fetching", file=sys.stderr, hidden=not sys.stderr.isatty()
            ) as bar:
                while file.tell() < _GREATEST and (block := answer.read(_BLOCK)):
                    file.write(block)
                    digest.update(block)
                    bar.update(len(block))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ConnectionError(
            f"{url} cannot be fetched ({getattr(error, 'reason', error)}): try again with a network, or put "
            f"{' and '.join(FILES)} of onnxruntime-web {VERSION} into a folder and pass it by "
            "--onnxruntime-web"
        ) from error
    found = f"sha512-{base64.b64encode(digest.digest()).decode()}"
    if found != integrity:
        raise InputError(
            f"{url} has the hash {found}, needed is {integrity}: it was damaged on its way or replaced; "
            "try again, or pass files that you trust by --onnxruntime-web"
        )


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as packed:
        for name in FILES:
            try:
                source = packed.extractfile(f"package/dist/{name}")
            except KeyError:
                source = None
            if source is None:
                raise InputError(
                    f"{archive} must hold package/dist/{name}, and does not: it is another package"
                )
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
