#!/usr/bin/env python3
"""Carry a wheel to a machine without network in parts, and install it from them.

    python scripts/wheel_parts.py split onnxruntime_gpu-*.whl parts --most 49
    python scripts/wheel_parts.py install parts target        # and then PYTHONPATH=target

A part is a file of at most so many MiB. The files of the wheel are compressed together (tar.xz), which makes
them smaller than in the wheel. ``parts.json`` holds the SHA-256 of each part, which is checked.
"""

import hashlib
import json
import lzma
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import click

MIB = 2**20
INDEX = "parts.json"


@click.group(help=__doc__)
def main() -> None:
    """Choose what to do."""


@main.command()
@click.argument("wheel", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--most", default=49, show_default=True, help="MiB of a part.")
@click.option("--preset", default=9, show_default=True, help="Level of compression, 0 to 9.")
def split(wheel: Path, folder: Path, most: int, preset: int) -> None:
    """Write WHEEL as parts into FOLDER."""
    packed = BytesIO()
    with ZipFile(wheel) as archive, tarfile.open(fileobj=packed, mode="w:xz", preset=preset) as tar:
        for item in archive.infolist():
            if item.is_dir():
                continue
            entry = tarfile.TarInfo(item.filename)
            entry.size = item.file_size
            with archive.open(item) as file:
                tar.addfile(entry, file)
    content, size = packed.getvalue(), most * MIB
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for number, start in enumerate(range(0, len(content), size), 1):
        part = content[start : start + size]
        name = f"{wheel.stem}.part{number:02}"
        (folder / name).write_bytes(part)
        hashes[name] = hashlib.sha256(part).hexdigest()
    (folder / INDEX).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
    click.echo(f"{len(content) / MIB:.0f} MiB in {len(hashes)} parts")


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(file_okay=False, path_type=Path))
def install(folder: Path, target: Path) -> None:
    """Unpack the parts in FOLDER into TARGET."""
    content = bytearray()
    for name, expected in json.loads((folder / INDEX).read_text(encoding="utf-8")).items():
        if not (folder / name).is_file():
            sys.exit(f"{folder / name} is missing: carry it, too")
        part = (folder / name).read_bytes()
        if (found := hashlib.sha256(part).hexdigest()) != expected:
            sys.exit(f"{folder / name} has the SHA-256 {found}, needed {expected}: carry it again")
        content += part
    with lzma.open(BytesIO(content)) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        tar.extractall(target)
    click.echo(f"unpacked into {target}: PYTHONPATH={target}")


if __name__ == "__main__":
    main()
