"""Saved estimates of every format that 1.x has written are read, and answer as on the day they were saved.

``tests/data/estimates`` keeps three of each format and model. After a new format, or with a new model, write
three more; the old ones stay until 2.0::

    python tests/contract/test_kept_estimates.py
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import discoformer
from discoformer.onnx.released import RELEASED
from discoformer.saved import FORMAT, read_estimate

FOLDER = Path(__file__).parents[1] / "data" / "estimates"
ANSWERS = FOLDER / "answers.json"
TOLERANCE = 1e-5  # relative to the greatest answer: the networks compute in float32

ESTIMATES: dict[str, Callable[[discoformer.Model, np.ndarray], discoformer.Estimate]] = {
    "best": lambda model, x: model.estimate(x[:, :2], weights=np.linspace(1, 2, len(x))),
    "fast": lambda model, x: model.estimate(x[:, :3], effort="fast"),
    "singular": lambda model, x: model.estimate(
        np.column_stack([x[:, :2], x[:, 0] - x[:, 1]]), effort="fast", allow_singular=True
    ),
}
QUERIES = {"best": [[0.5, -1], [3, 3]], "fast": [[0, 0, 0], [1, 2, -3]], "singular": [[1, 0, 1], [2, -1, 3]]}


def load() -> discoformer.Model:
    return discoformer.load(device="cpu", threads=1)


def prefix(model: discoformer.Model) -> str:
    return f"format{FORMAT}_{model.metadata.name}{model.metadata.version}"


@pytest.fixture(scope="module")
def model() -> discoformer.Model:
    return load()


def test_some_are_of_this_format_and_model(model: discoformer.Model) -> None:
    kept = {path.stem for path in FOLDER.glob("*.estimate")}
    assert kept >= {f"{prefix(model)}_{kind}" for kind in ESTIMATES}
    assert kept == json.loads(ANSWERS.read_text(encoding="utf-8")).keys()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.estimate")), ids=lambda path: path.stem)
def test_it_answers_as_on_the_day_it_was_saved(path: Path, model: discoformer.Model) -> None:
    saved = read_estimate(path)
    if (saved.model, saved.version) not in RELEASED:
        with pytest.raises(discoformer.ModelNotFoundError, match=f"'{saved.model}' {saved.version}, which"):
            discoformer.load_estimate(path)
        return
    assert_kept_answers(path, model)


def assert_kept_answers(path: Path, model: discoformer.Model) -> None:
    answers = json.loads(ANSWERS.read_text(encoding="utf-8"))[path.stem]
    found = discoformer.load_estimate(path, model).log_density_and_score(answers["queries"])
    for got, name in zip(found, ("log_density", "score"), strict=True):
        expected = np.array(answers[name])
        assert np.abs(got - expected).max() <= TOLERANCE * (1 + np.abs(expected).max()), name


def test_a_release_with_another_model_reads_them_with_a_copy_of_theirs(
    model: discoformer.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "copy")
    for known in list(RELEASED):
        monkeypatch.delitem(RELEASED, known)
    copy = discoformer.load(tmp_path / "copy", device="cpu", threads=1)
    for kind in ESTIMATES:
        path = FOLDER / f"{prefix(model)}_{kind}.estimate"
        assert_kept_answers(path, copy)
        with pytest.raises(discoformer.ModelNotFoundError, match=r"pass model=discoformer\.load"):
            discoformer.load_estimate(path)


def write() -> None:
    """Write three estimates of this format and model, and what they answer."""
    FOLDER.mkdir(exist_ok=True)
    answers = json.loads(ANSWERS.read_text(encoding="utf-8")) if ANSWERS.exists() else {}
    x, model = np.random.default_rng(0).normal(size=(24, 3)), load()
    for kind, estimate in ESTIMATES.items():
        p, name = estimate(model, x), f"{prefix(model)}_{kind}"
        p.save(FOLDER / f"{name}.estimate", sample=kind == "fast")
        log_density, score = p.log_density_and_score(QUERIES[kind])
        given = {"queries": QUERIES[kind], "log_density": log_density.tolist(), "score": score.tolist()}
        answers[name] = given
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
