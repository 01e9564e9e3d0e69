"""The hashes of the released models in the package are those of ``models``; run as a script, writes them."""

import hashlib
import json
from pathlib import Path

from discoformer.onnx.model_files import CONFIG, FILES

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "runtime" / "discoformer" / "onnx" / "released.py"
HEAD = '''"""SHA-256 of the files of the released models, by name and version of the model.

Written by ``python tests/house/test_released_files.py`` from the folders in ``models``; do not edit.
"""

RELEASED: dict[tuple[str, str], dict[str, str]] = {
'''


def render() -> str:
    """The text of the module."""
    lines = [HEAD]
    for config in sorted((ROOT / "models").glob(f"*/{CONFIG}")):
        model = json.loads(config.read_bytes())["model"]
        lines.append(f'    ("{model["name"]}", "{model["version"]}"): {{\n')
        for name in (name for name in (CONFIG, *FILES) if (config.parent / name).exists()):
            hashed = hashlib.sha256((config.parent / name).read_bytes()).hexdigest()
            lines.append(f'        "{name}": "{hashed}",\n')
        lines.append("    },\n")
    return "".join((*lines, "}\n"))


def test_the_hashes_of_the_released_models_are_those_in_the_package() -> None:
    assert MODULE.read_text(encoding="utf-8") == render(), "run: python tests/house/test_released_files.py"


if __name__ == "__main__":
    MODULE.write_text(render(), encoding="utf-8")
