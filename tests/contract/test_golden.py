"""Golden files are what the model's weights give, and what the runtime answers."""

from pathlib import Path

import numpy as np
import pytest

import discoformer
from discoformer.base.mixture import ABSENT
from discoformer_export.checks.golden import Case, Cases, golden, read, write

FOLDER = Path(__file__).parents[2] / "models" / "base"
TOLERANCES = {"raw": 1e-7, "core": 1e-5}  # by kind; the inputs of core are rounded
REGENERATE = "after the weights change: python -m discoformer_export.checks.golden models/base"


@pytest.fixture(scope="module")
def made() -> Cases:
    return golden(FOLDER)


@pytest.fixture(scope="module")
def stored() -> Cases:
    return read(FOLDER / "golden")


def _flat(cases: dict[str, Case]) -> dict[str, np.ndarray]:
    return {
        f"{name}/{role}/{key}": array
        for name, case in cases.items()
        for role, arrays in case._asdict().items()
        for key, array in arrays.items()
    }


@pytest.mark.parametrize("kind", TOLERANCES)
def test_made_again_they_are_the_same(made: Cases, stored: Cases, kind: str) -> None:
    expected = _flat(stored[kind])
    found = _flat(made[kind])
    assert found.keys() == expected.keys(), REGENERATE
    for name, array in found.items():
        scale = 1 + np.abs(expected[name]).max()
        np.testing.assert_allclose(
            array / scale, expected[name] / scale, atol=TOLERANCES[kind], err_msg=REGENERATE
        )


def test_inputs_are_read_back_to_the_bit(made: Cases, tmp_path: Path) -> None:
    write(made, tmp_path)
    for kind, cases in read(tmp_path).items():
        found = _flat(cases)
        for name, array in _flat(made[kind]).items():
            if "/inputs/" in name:
                assert array.dtype == found[name].dtype
                np.testing.assert_array_equal(array, found[name])


def test_they_cover_the_edges_and_stay_small(stored: Cases) -> None:
    raw, core = _flat(stored["raw"]), _flat(stored["core"])
    sizes = {array.shape for name, array in raw.items() if name.endswith("inputs/context")}
    assert {2, 5, 17, 100, 200, 512} <= {shape[1] for shape in sizes}
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
    assert sum(path.stat().st_size for path in (FOLDER / "golden").iterdir()) < 3e5


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
def test_the_runtime_gives_the_raw_answers(stored: Cases) -> None:
    model = discoformer.load(FOLDER, device="cpu", threads=1)
    for name, (inputs, outputs) in stored["raw"].items():
        for b in range(len(inputs["context"])):
            estimate = model.estimate(inputs["context"][b], np.exp(inputs["log_weights"][b]))
            answers = estimate.log_density_and_score(inputs["queries"][b])
            for got, expected in zip(answers, (outputs["log_density"][b], outputs["score"][b]), strict=True):
                error = np.abs(got - expected).max() / (1 + np.abs(expected).max())
                assert error < 1e-5, (name, error)
