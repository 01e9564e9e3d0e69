"""A folder as users have it: the package as it is packed, and onnxruntime-web, in node_modules."""

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "js"


def pack(folder: Path) -> Path:
    """Pack the package into a folder; return the file."""
    command = ["npm", "pack", "--silent", "--pack-destination", folder]
    name = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True).stdout.split()[-1]
    return folder / name


def make_site(folder: Path, packed: Path, *tools: str) -> Path:
    """Make node_modules of a packed package, onnxruntime and further tools, and the page of the tests.

    Args:
        folder: Where.
        packed: From ``pack``.
        *tools: Names of further packages to link.
    """
    modules = folder / "node_modules"
    modules.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", packed, "-C", modules], check=True)
    (modules / "package").rename(modules / "discoformer")
    for name in ("onnxruntime-web", "onnxruntime-node", *tools):
        (modules / name).symlink_to(PACKAGE / "node_modules" / name)
    for name in ("page.html", "golden.mjs"):
        shutil.copy(HERE / name, folder)
    return folder
