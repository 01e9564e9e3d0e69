"""Golden files are what the model's weights give, and what the runtime answers."""

import json
from pathlib import Path

import numpy as np
import pytest

import discoformer
from discoformer.base.mixture import ABSENT
from discoformer_export.checks.golden import Cases, golden, write

FOLDERS = [path.parent for path in sorted(Path(__file__).parents[2].glob("models/*/config.json"))]
KINDS = ("raw", "core")
REGENERATE = "after the weights change: python -m discoformer_export.checks.golden models/NAME"


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def cases(folder: Path) -> Cases:
    return golden(folder)


def _stored(folder: Path, kind: str) -> dict[str, np.ndarray]:
    with np.load(folder / "golden" / f"{kind}.npz") as file:
        return dict(file)


@pytest.mark.parametrize("kind", KINDS)
def test_made_again_they_are_the_same(folder: Path, cases: Cases, kind: str, tmp_path: Path) -> None:
    write(cases, tmp_path)
    stored = _stored(folder, kind)
    with np.load(tmp_path / f"{kind}.npz") as made:
        assert set(made) == set(stored), REGENERATE
        for name, array in made.items():
            scale = 1 + np.abs(stored[name]).max()
            np.testing.assert_allclose(array / scale, stored[name] / scale, atol=1e-10, err_msg=REGENERATE)


@pytest.mark.parametrize("kind", KINDS)
def test_json_and_npz_hold_the_same_to_the_bit(folder: Path, kind: str) -> None:
    stored = _stored(folder, kind)
    described = json.loads((folder / "golden" / f"{kind}.json").read_text())
    found = {
        f"{case}/{role}/{name}": np.array(array["values"], array["type"]).reshape(array["shape"])
        for case, roles in described.items()
        for role, arrays in roles.items()
        for name, array in arrays.items()
    }
    assert found.keys() == stored.keys()
    for name, array in stored.items():
        assert array.dtype == found[name].dtype
        np.testing.assert_array_equal(array, found[name])


def test_they_cover_the_edges_and_stay_small(folder: Path) -> None:
    raw, core = _stored(folder, "raw"), _stored(folder, "core")
    sizes = {array.shape for name, array in raw.items() if name.endswith("inputs/context")}
    assert {2, 5, 17, 100, 512} <= {shape[1] for shape in sizes}
    assert {1, 2, 3, 10, 30} <= {shape[2] for shape in sizes}
    assert any(shape[1] < 4 * shape[2] for shape in sizes)
    assert any(shape[0] > 1 for shape in sizes)
    assert {1, 129} <= {array.shape[1] for name, array in raw.items() if name.endswith("inputs/queries")}
    assert (raw["weights/inputs/log_weights"] == -1e30).any()
    assert len(np.unique(raw["duplicates/inputs/context"], axis=1)[0]) < 100
    units = np.abs(raw["units/inputs/context"])
    assert units.max() > 1e9
    assert units.min() < 1e-8
    assert np.abs(core["far/inputs/queries"]).max() > 1e6
    log_odds = np.concatenate([array for name, array in core.items() if name.endswith("product_log_odds")])
    assert log_odds.max() > 0
    assert log_odds.min() == np.float32(ABSENT)
    assert sum(path.stat().st_size for path in (folder / "golden").iterdir()) < 1e6


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
def test_the_runtime_gives_the_raw_answers(folder: Path, cases: Cases) -> None:
    model = discoformer.load(folder, device="cpu", threads=1)
    for name, (inputs, outputs) in cases["raw"].items():
        for b in range(len(inputs["context"])):
            estimate = model.estimate(inputs["context"][b], np.exp(inputs["log_weights"][b]))
            answers = estimate.log_density_and_score(inputs["queries"][b])
            for got, expected in zip(answers, (outputs["log_density"][b], outputs["score"][b]), strict=True):
                error = np.abs(got - expected).max() / (1 + np.abs(expected).max())
                assert error < 1e-5, (name, error)
