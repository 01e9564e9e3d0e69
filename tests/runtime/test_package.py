"""The package as a whole: what it offers, and what it does without."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import discoformer

IRIS = Path(__file__).parents[1] / "data" / "iris_petals.csv"


def python(code: str, *arguments: str) -> str:
    """Runs code in a fresh interpreter in which every warning is an error."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_all_is_complete() -> None:
    values = {name: getattr(discoformer, name) for name in discoformer.__all__}
    public = {
        name
        for name, value in vars(discoformer).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public | {"__version__"} == set(values)
    assert all(value.__doc__ for value in values.values())
    assert set(values) <= set(dir(discoformer))
    with pytest.raises(AttributeError, match="no attribute 'KDE'"):
        discoformer.KDE  # noqa: B018


def test_what_methods_return_is_imported_when_named() -> None:
    code = (
        "import sys, discoformer\n"
        "before = {'discoformer.analysis.sampling', 'discoformer.analysis.adaptation'} & sys.modules.keys()\n"
        "print(len(before), discoformer.Sampling.__name__, 'discoformer.analysis.sampling' in sys.modules)"
    )
    assert python(code) == "0 Sampling True\n"


def test_errors_are_all_offered() -> None:
    defined = inspect.getmembers(discoformer.errors, inspect.isclass)
    assert {name for name, value in defined if issubclass(value, Exception)} <= set(discoformer.__all__)


def test_import_needs_numpy_alone() -> None:
    absent = {"torch", "onnx", "onnxruntime", "matplotlib", "pyarrow", "pandas", "scipy"}
    code = f"import sys, discoformer.cli; print(*{absent} & sys.modules.keys())"
    assert python(code) == "\n"


def test_an_estimate_does_not_wait_for_numpy_ma(kde_folder: Path) -> None:
    code = (
        "import sys, numpy, discoformer\n"
        "x = numpy.arange(40.0).reshape(20, 2) ** 2\n"
        "discoformer.load(sys.argv[1], device='cpu', threads=1).estimate(x).log_density(x)\n"
        "print('numpy.ma' in sys.modules)"
    )
    assert python(code, str(kde_folder)).splitlines()[-1] == "False"


def test_the_command_line_runs_without_torch_and_onnx(kde_folder: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'onnx', 'matplotlib', 'pyarrow', 'pandas', 'scipy']))\n"
        "from discoformer.cli import main\n"
        "main()"
    )
    out = python(code, "estimate", str(IRIS), "--model", str(kde_folder), "--threads", "1")
    assert len(out.splitlines()) == 151
