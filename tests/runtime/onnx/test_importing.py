"""Telemetry of onnxruntime is off: it would make an identifier of the machine and start a thread."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import discoformer

ESTIMATE = (
    "import sys, time, numpy, discoformer\n"
    "x = numpy.arange(40.0).reshape(20, 2) ** 2\n"
    "discoformer.load(sys.argv[1], device='cpu', threads=1).estimate(x).log_density(x)\n"
    "time.sleep(0.5)\n"
)


def run(code: str, folder: Path, home: Path, **variables: str) -> str:
    """Run code in an environment in which nothing but onnxruntime's own switch can turn telemetry off."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(home))
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(
        command, env=kept | places | variables, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="telemetry keeps its files elsewhere")
def test_an_estimate_leaves_no_files_of_telemetry(kde_folder: Path, tmp_path: Path) -> None:
    run(ESTIMATE, kde_folder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_switch_is_set_before_onnxruntime_is_imported(kde_folder: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, discoformer\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "discoformer.load(sys.argv[1], device='cpu', threads=1)\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    assert run(code, kde_folder, tmp_path) == "1\n"
    assert run(code, kde_folder, tmp_path, ORT_DISABLE_TELEMETRY="true") == "true\n"


def test_no_other_module_of_the_runtime_imports_onnxruntime() -> None:
    runtime = Path(discoformer.__file__).parent
    importing = [
        path.name
        for path in runtime.rglob("*.py")
        if 'require("onnxruntime")' in (text := path.read_text(encoding="utf-8"))
        or "import onnxruntime" in text
    ]
    assert importing == ["importing.py"]
