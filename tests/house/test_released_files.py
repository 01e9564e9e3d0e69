"""The hashes of released models in both packages are those of ``models``; run as a script, writes them."""

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
IN_JAVASCRIPT = ROOT / "js" / "src" / "released.js"
HEAD_IN_JAVASCRIPT = """// SHA-256 of mixture.onnx of the released models, by name and version.
//
// Written by `python tests/house/test_released_files.py` from the folders in models; do not edit.

export const RELEASED = {
"""


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


def render_in_javascript() -> str:
    """The text of the module of the JavaScript package, which has the mixture network alone."""
    lines = [HEAD_IN_JAVASCRIPT]
    for config in sorted((ROOT / "models").glob(f"*/{CONFIG}")):
        about = json.loads(config.read_bytes())
        hashed = hashlib.sha256((config.parent / "mixture.onnx").read_bytes()).hexdigest()
        lines.append(f'  "{about["model"]["name"]} {about["mixture"]["version"]}": "{hashed}",\n')
    return "".join((*lines, "};\n"))


def test_the_hashes_of_the_released_models_are_those_in_the_packages() -> None:
    for module, text in ((MODULE, render()), (IN_JAVASCRIPT, render_in_javascript())):
        assert module.read_text(encoding="utf-8") == text, "run: python tests/house/test_released_files.py"


if __name__ == "__main__":
    MODULE.write_text(render(), encoding="utf-8")
    IN_JAVASCRIPT.write_text(render_in_javascript(), encoding="utf-8")
