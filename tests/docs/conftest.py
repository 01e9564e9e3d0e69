"""Modules beside these tests, and the hooks of the site, are found by their names."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[2] / "scripts")]
