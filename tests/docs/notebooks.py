"""The notebooks of examples/notebooks.

    python tests/docs/notebooks.py   # run them all, and keep what they print and draw

A notebook runs in a temporary folder.
"""

import asyncio
import sys
import tempfile
import warnings
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
SECONDS = 600  # for one cell


def executed(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of a fresh run."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of the kernel's own machinery
        if sys.platform == "win32":
            asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
        client.execute(cwd=folder)
    return notebook


def plain(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out what differs from run to run: times and versions."""
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for cell in notebook.cells:
        cell.metadata = {}
    return notebook


if __name__ == "__main__":
    for path in NOTEBOOKS:
        nbformat.write(plain(executed(path)), path)
        print(path.relative_to(ROOT), path.stat().st_size, "bytes")
