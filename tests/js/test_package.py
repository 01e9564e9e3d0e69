"""What is packed: files, size, types, and what linters of packages say. The example for Node."""

import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import discoformer
from tests.js.site import PACKAGE, ROOT, make_site, pack

MOST_BYTES = 10_000_000
IRIS = ROOT / "tests" / "data" / "iris_petals.csv"
Run = Callable[..., str]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("packed"))


def test_files_and_size(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        files = {member.name.removeprefix("package/"): member.size for member in archive.getmembers()}
    folders = (PACKAGE / "src", PACKAGE / "examples")
    code = {path.relative_to(PACKAGE).as_posix() for folder in folders for path in folder.rglob("*.*")}
    others = {"package.json", "README.md", "LICENSE", "models/mixture.onnx"}
    assert files.keys() == code | others
    assert files["models/mixture.onnx"] == (ROOT / "models" / "base" / "mixture.onnx").stat().st_size
    assert sum(files.values()) < MOST_BYTES


def test_the_linters_of_packages_find_nothing(run: Run, packed: Path) -> None:
    run("npx", "publint", "--strict", packed)
    run("npx", "attw", "--profile", "esm-only", "--exclude-entrypoints", "models/mixture.onnx", "--", packed)


@pytest.mark.usefixtures("packed")  # which puts the model into the package
def test_the_documents_run(run: Run) -> None:
    for page in (ROOT / "docs" / "javascript.md", PACKAGE / "README.md"):
        blocks = re.findall(r"```js\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        code = "\n".join(
            block for block in blocks if "loadInWorker" not in block
        )  # there are no workers in Node
        given = "const [X, Y] = [[[1, 2], [3, 1], [2, 5], [4, 4], [0, 1], [5, 2], [1, 4], [3, 3]], [[1, 2]]];"
        run("node", "--input-type=module", "-e", f"{given}\n{code}")


def test_types(run: Run) -> None:
    run("npx", "tsc", "-p", "examples/typescript")


def test_the_types_name_what_there_is(run: Run) -> None:
    script = "console.log(JSON.stringify(Object.keys(await import('discoformer')).sort()))"
    names = json.loads(run("node", "--input-type=module", "-e", script))
    types = (PACKAGE / "src" / "index.d.ts").read_text(encoding="utf-8")
    declared = {
        line.split()[2].partition("(")[0]
        for line in types.splitlines()
        if line.startswith(("export class ", "export function "))
    }
    assert set(names) == declared


def test_the_version_is_that_of_the_python_package() -> None:
    version = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))["version"]
    assert version == discoformer.__version__


def test_the_example_for_node(run: Run, packed: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", packed)
    script = site / "score.mjs"
    script.write_bytes((PACKAGE / "examples" / "node" / "score.mjs").read_bytes())
    rows = np.random.default_rng(0).normal([3, 1], size=(10_000, 2))
    lines = os.linesep.join(["length,width", *(f"{a!r},{b!r}" for a, b in rows.tolist())])
    printed = run("node", script, IRIS, text=lines).split()
    assert printed[0] == "length,width,log_density,score_petal_length_cm,score_petal_width_cm"
    found = np.array([line.split(",") for line in printed[1:]], float)
    np.testing.assert_array_equal(found[:, :2], rows)
    p = discoformer.estimate(np.loadtxt(IRIS, delimiter=",", skiprows=1), effort="fast")
    log_density, score = p.log_density_and_score(rows)
    np.testing.assert_allclose(found[:, 2], log_density, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:, 3:], score, rtol=1e-3, atol=1e-3)
