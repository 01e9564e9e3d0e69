"""Golden files are what the model's weights give; ``test_golden_runtime.py`` compares the runtime."""

from pathlib import Path

import numpy as np
import pytest

from discoformer_export.checks.golden import Case, Cases, all_inputs, answering, read, write

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "base"
TOLERANCE = 1e-7  # outputs are stored with eight digits
INPUT_TOLERANCES = {"raw": 0, "framed": 1e-4}  # by kind; framed ones are computed in float32, to six digits
REGENERATE = "after the weights change: python -m discoformer_export.checks.golden models/base"


@pytest.fixture(scope="module")
def drawn() -> Cases:
    return {
        kind: {name: Case(inputs, {}) for name, inputs in named.items()}
        for kind, named in all_inputs(FOLDER).items()
    }


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


def _assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float, name: str) -> None:
    error = np.abs(found - expected).max() / (1 + np.abs(expected).max())
    assert error <= tolerance, f"{name}: error {error:.1e}; {REGENERATE}"


@pytest.mark.parametrize("kind", INPUT_TOLERANCES)
def test_the_answers_are_those_of_the_weights(stored: Cases, kind: str) -> None:
    assert stored.keys() == INPUT_TOLERANCES.keys()
    answer = answering(FOLDER)[kind]
    for name, (inputs, outputs) in stored[kind].items():
        found = answer(inputs)
        assert found.keys() == outputs.keys()
        for key, array in found.items():
            _assert_close(array, outputs[key], TOLERANCE, f"{name}/{key}")


@pytest.mark.parametrize("kind", INPUT_TOLERANCES)
def test_the_inputs_are_those_that_are_drawn(drawn: Cases, stored: Cases, kind: str) -> None:
    inputs = {name: Case(case.inputs, {}) for name, case in stored[kind].items()}
    expected, found = _flat(inputs), _flat(drawn[kind])
    assert found.keys() == expected.keys(), REGENERATE
    for name, array in found.items():
        _assert_close(array, expected[name], INPUT_TOLERANCES[kind], name)


def test_inputs_are_read_back_to_the_bit(drawn: Cases, tmp_path: Path) -> None:
    write(drawn, tmp_path)
    for kind, cases in read(tmp_path).items():
        found = _flat(cases)
        for name, array in _flat(drawn[kind]).items():
            assert array.dtype == found[name].dtype
            np.testing.assert_array_equal(array, found[name])


def test_they_cover_the_edges_and_stay_small(stored: Cases) -> None:
    raw, framed = _flat(stored["raw"]), _flat(stored["framed"])
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
    assert np.abs(framed["far/inputs/queries"]).max() > 1e6
    shares = np.concatenate([array for name, array in framed.items() if name.endswith("product_share")])
    assert shares.max() > 0.5
    assert shares.min() == 0
    assert sum(path.stat().st_size for path in (FOLDER / "golden").iterdir()) < 5e5
