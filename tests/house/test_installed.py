"""What scripts/installed.py tries: the requirements of a wheel, and the tests that run without sources."""

from pathlib import Path
from zipfile import ZipFile

from scripts.installed import EXTRAS, MODULES, QUICK, requirements, runtime_tests

ROOT = Path(__file__).parents[2]
METADATA = """Metadata-Version: 2.4
Name: any
Version: 1
Requires-Dist: numpy>=2
Requires-Dist: onnxruntime>=1.20; extra == 'cpu'
Requires-Dist: torch>=2; extra == 'train'
"""


def test_the_requirements_are_those_of_the_extras_that_are_tried(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "any-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("any-1.dist-info/METADATA", METADATA)
    assert requirements(tmp_path / "any-1-py3-none-any.whl", EXTRAS) == ["numpy>=2", "onnxruntime>=1.20"]
    assert requirements(tmp_path / "any-1-py3-none-any.whl", ()) == ["numpy>=2"]


def test_tests_of_what_is_not_installed_are_left_out() -> None:
    assert "torch" not in MODULES
    names = {path.name for path in runtime_tests(ROOT)}
    everything = {path.name for path in (ROOT / "tests" / "runtime").rglob("test_*.py")}
    assert len(names) > 0.8 * len(everything)
    assert {"test_estimate.py", "test_saved.py", "test_estimator.py"} <= names
    assert names.isdisjoint({"test_tensors.py", "test_adaptation_losses.py"})
    assert all((ROOT / path).exists() for path in QUICK)
