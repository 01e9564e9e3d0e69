"""Estimates in files: they answer as before, and never for another model than their own."""

import hashlib
import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import discoformer
from discoformer import saved
from discoformer.io.archives import read_arrays, write_arrays


@pytest.fixture
def estimate(kde: discoformer.Model, rng: np.random.Generator) -> discoformer.Estimate:
    table = pd.DataFrame(rng.normal(size=(30, 10)), columns=list("abcdefghij"))
    return kde.estimate(table, weights=rng.random(30))


def test_a_saved_estimate_answers_as_before(
    estimate: discoformer.Estimate, kde: discoformer.Model, rng: np.random.Generator, tmp_path: Path
) -> None:
    path = tmp_path / "fitted.estimate"
    estimate.save(path)
    again = discoformer.load_estimate(str(path), kde)
    y = rng.normal(size=(20, 10))
    for ours, theirs in zip(again.log_density_and_score(y), estimate.log_density_and_score(y), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.diagnostics == estimate.diagnostics
    assert again.diagnostics.warnings  # fewer rows than 4 x columns: there was something to keep
    assert again.columns == tuple("abcdefghij")
    assert again.frame.log_abs_det == estimate.frame.log_abs_det


def test_the_default_model_is_found_by_itself_in_another_process(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    p = discoformer.estimate(x)
    p.save(tmp_path / "p")
    code = "import sys, discoformer\nprint(discoformer.load_estimate(sys.argv[1]).log_density([[0.5, 1]])[0])"
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "p")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert float(out) == pytest.approx(p.log_density([[0.5, 1]])[0], abs=1e-6)


def test_another_model_is_refused(
    estimate: discoformer.Estimate, gaussian: discoformer.Model, tmp_path: Path
) -> None:
    estimate.save(tmp_path / "p")
    with pytest.raises(discoformer.ModelError, match=r"was made by the model 'stand-in' .* estimate again"):
        discoformer.load_estimate(tmp_path / "p", gaussian)
    with pytest.raises(discoformer.ModelNotFoundError, match="'stand-in'"):
        discoformer.load_estimate(tmp_path / "p")


def test_files_that_are_no_estimates(kde: discoformer.Model, tmp_path: Path) -> None:
    path = tmp_path / "p"
    with pytest.raises(FileNotFoundError):
        discoformer.load_estimate(path, kde)
    others = {"text": b"a,b\n1,2\n", "nothing": b"", "an array": io.BytesIO(), "an archive": io.BytesIO()}
    np.save(others["an array"], np.zeros(3))
    np.savez(others["an archive"], a=np.zeros(3))
    for content in others.values():
        path.write_bytes(content if isinstance(content, bytes) else content.getvalue())
        with pytest.raises(discoformer.InputError, match="no saved estimate, or is damaged"):
            discoformer.load_estimate(path, kde)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_damage_is_noticed(
    estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path, share: float
) -> None:
    path = tmp_path / "p"
    estimate.save(path)
    content = bytearray(path.read_bytes())
    for start in range(int(share * len(content)), int(share * len(content)) + 200):
        content[start] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(discoformer.InputError, match="is damaged"):
        discoformer.load_estimate(path, kde)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(discoformer.InputError, match="is damaged"):
        discoformer.load_estimate(path, kde)


@pytest.mark.parametrize("other", [4, 99])
def test_another_format_is_refused(
    estimate: discoformer.Estimate,
    kde: discoformer.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: int,
) -> None:
    monkeypatch.setattr(saved, "FORMAT", other)
    estimate.save(tmp_path / "p")
    monkeypatch.undo()
    with pytest.raises(
        discoformer.InputError, match=f"has format {other}, this version .* reads 6: estimate again"
    ):
        discoformer.load_estimate(tmp_path / "p", kde)


def test_a_save_that_fails_leaves_the_old_file(
    estimate: discoformer.Estimate,
    kde: discoformer.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    path = tmp_path / "p"
    estimate.save(path)

    def full(file: io.BufferedWriter, **arrays: object) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        kde.estimate(rng.normal(size=(40, 10))).save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["p"]
    assert discoformer.load_estimate(path, kde).diagnostics == estimate.diagnostics


def test_files_hold_no_pickles(estimate: discoformer.Estimate, tmp_path: Path) -> None:
    estimate.save(tmp_path / "p")
    with np.load(tmp_path / "p", allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fU" for name in archive.files)


def test_model_files_that_changed_are_refused(
    other_folder: Callable[..., Path], rng: np.random.Generator, tmp_path: Path
) -> None:
    """The same weights in other graphs are another model: what they encode may differ."""
    p = discoformer.load(other_folder(), "cpu").estimate(rng.normal(size=(30, 2)))
    p.save(tmp_path / "p")
    changed = discoformer.load(other_folder(query={"exporter": "a later version"}), "cpu")
    with pytest.raises(discoformer.ModelError, match="estimate again"):
        discoformer.load_estimate(tmp_path / "p", changed)


def test_many_writers_and_a_reader_do_not_meet(
    estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path
) -> None:
    path = tmp_path / "p"
    estimate.save(path)
    path.chmod(0o600)
    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(estimate.save, path) for _ in range(40)]
        readers = [pool.submit(discoformer.load_estimate, path, kde) for _ in range(20)]
    assert all(done.exception() is None for done in (*writers, *readers))
    assert [item.name for item in tmp_path.iterdir()] == ["p"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    estimate.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert discoformer.load_estimate(tmp_path / "file", kde).columns == estimate.columns


def test_a_numpy_number_as_effective_size_can_be_saved(
    kde: discoformer.Model, rng: np.random.Generator, tmp_path: Path
) -> None:
    p = kde.estimate(rng.normal(size=(40, 2)), effective_size=np.float32(20))  # type: ignore[arg-type]
    p.save(tmp_path / "p")
    assert discoformer.load_estimate(tmp_path / "p", kde).diagnostics.effective_size == 20


def test_what_is_not_complete_is_refused(
    estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path
) -> None:
    del estimate.encoded.arrays["scalars"]
    estimate.save(tmp_path / "p")
    with pytest.raises(discoformer.InputError, match=r"damaged .*scalars"):
        discoformer.load_estimate(tmp_path / "p", kde)


@pytest.fixture(scope="module")
def large() -> discoformer.Estimate:
    x = np.random.default_rng(5).normal(size=(5000, 2))
    return discoformer.load("base", device="cpu", threads=1).estimate(x)


@pytest.mark.slow
def test_the_sample_is_saved_on_request(large: discoformer.Estimate, tmp_path: Path) -> None:
    large.save(tmp_path / "whole", sample=True)
    again = discoformer.load_estimate(tmp_path / "whole", large.model)
    assert again.holds_sample
    for ours, theirs in zip(again.data, large.data, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    at = [[0.3], [1.0]]
    np.testing.assert_array_equal(again.marginal(0).log_density(at), large.marginal(0).log_density(at))


@pytest.mark.slow
def test_without_its_sample_a_file_is_small_and_says_so(large: discoformer.Estimate, tmp_path: Path) -> None:
    large.save(tmp_path / "whole", sample=True)
    large.save(tmp_path / "landmarks")
    sample_bytes = large.data.points.nbytes + large.data.weights.nbytes
    whole, small = (len((tmp_path / name).read_bytes()) for name in ("whole", "landmarks"))
    assert small <= whole - sample_bytes
    states = sum(array.nbytes for array in large.encoded.arrays.values())
    assert small < 1.05 * states  # which are of the landmarks, however many rows there are
    again = discoformer.load_estimate(tmp_path / "landmarks", large.model)
    assert not again.holds_sample
    assert again.diagnostics == large.diagnostics
    landmarks = large.diagnostics.landmarks
    with pytest.warns(
        discoformer.RangeWarning, match=f"without its sample of 5000 rows.* {landmarks} landmarks"
    ) as seen:
        marginal = again.marginal(0)
    assert [warning.filename for warning in seen] == [__file__]
    with pytest.warns(discoformer.RangeWarning) as seen:
        again.diagnose()
    assert len(seen) == 1
    with pytest.raises(discoformer.InputError, match="sample=True needs the sample of 5000 rows"):
        again.save(tmp_path / "pretended", sample=True)
    assert marginal.diagnostics.n == landmarks
    assert not marginal.diagnostics.warnings
    np.testing.assert_allclose(
        marginal.log_density([[0.3]]), large.marginal(0).log_density([[0.3]]), atol=0.1
    )


def test_a_sample_of_few_rows_is_held_by_its_landmarks(kde: discoformer.Model, tmp_path: Path) -> None:
    x = np.random.default_rng(6).normal(size=(40, 2))
    kde.estimate(x).save(tmp_path / "p")
    again = discoformer.load_estimate(tmp_path / "p", kde)
    assert again.holds_sample
    found = again.data.points
    np.testing.assert_allclose(found[np.lexsort(found.T[::-1])], x[np.lexsort(x.T[::-1])], atol=1e-5)


def test_few_values_are_still_found_after_reading(kde: discoformer.Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    p = kde.estimate(np.c_[rng.normal(size=400), rng.integers(0, 9, 400)])
    p.save(tmp_path / "p")
    again = discoformer.load_estimate(tmp_path / "p", kde)
    for estimate in (p, again):
        (finding,) = (f for f in estimate.diagnose().findings if f.name == "few-valued columns")
        assert (finding.level, finding.value) == ("doubtful", "column 1")


def test_the_limit_of_landmarks_is_kept(tmp_path: Path) -> None:
    model = discoformer.load("base", device="cpu", threads=1)
    p = model.estimate(np.random.default_rng(9).normal(size=(300, 2)), landmarks=50)
    p.save(tmp_path / "p", sample=True)
    for estimate in (p, discoformer.load_estimate(tmp_path / "p", model)):
        assert estimate.marginal(0).diagnostics.landmarks == 50
        assert estimate.holds_sample


def test_the_sample_that_is_kept_cannot_be_changed(kde: discoformer.Model) -> None:
    p = kde.estimate(np.random.default_rng(10).normal(size=(30, 2)))
    with pytest.raises(ValueError, match="read-only"):
        p.data.points[0] = 1


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """Changes entries and arrays of an archive as a stranger would: with a good checksum."""
    arrays = read_arrays(path)
    about = json.loads(str(arrays.pop("about")))
    change(about, arrays)
    write_arrays(path, {"about": np.array(json.dumps(about)), **arrays})


CHANGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "not finite": lambda _, arrays: arrays["encoded.vectors"].fill(np.nan),
    "not finite, in the frame": lambda _, arrays: arrays["frame.linear"].fill(np.inf),
    "another shape": lambda _, arrays: arrays.update({"encoded.context": arrays["encoded.context"][:, :5]}),
    "another rank": lambda _, arrays: arrays.update({"encoded.context": arrays["encoded.context"][0]}),
    "a frame of another shape": lambda _, arrays: arrays.update({"frame.linear": np.eye(3)}),
    "whole numbers": lambda _, arrays: arrays.update({"encoded.scalars": np.zeros((1, 1, 30, 1), np.int64)}),
    "float16": lambda _, arrays: arrays.update({"encoded.scalars": np.zeros((1, 1, 30, 1), np.float16)}),
    "weights that are positive logarithms": lambda _, arrays: arrays["encoded.log_weights"].fill(3),
    "degrees of freedom below 0": lambda _, arrays: arrays["encoded.component_freedom"].fill(-1),
    "an unknown array": lambda _, arrays: arrays.update({"more": np.zeros(3)}),
    "an unknown entry": lambda about, _: about["diagnostics"].update({"more": 1}),
    "no diagnostics": lambda about, _: about.pop("diagnostics"),
    "rows below 1": lambda about, _: about["diagnostics"].update({"n": -1}),
    "a text for a number": lambda about, _: about["diagnostics"].update({"landmarks": "30"}),
    "another effort": lambda about, _: about["diagnostics"].update({"effort": "quick"}),
    "names that are no texts": lambda about, _: about.update({"columns": [1] * 10}),
    "too few names": lambda about, _: about.update({"columns": ["a"]}),
    "a model that is no text": lambda about, _: about.update({"model": ["base"]}),
    "landmarks that are no number": lambda about, _: about.update({"most_landmarks": None}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_contents_that_no_estimate_has_are_refused(
    estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "p"
    estimate.save(path)
    rewritten(path, lambda about, arrays: None)
    discoformer.load_estimate(path, kde)  # as it was
    rewritten(path, CHANGES[name])
    with pytest.raises(discoformer.InputError, match="no saved estimate, or is damaged"):
        discoformer.load_estimate(path, kde)


def test_numbers_out_of_range_never_give_answers_that_are_not_finite(
    kde: discoformer.Model, tmp_path: Path, rng: np.random.Generator
) -> None:
    x, path = rng.normal(size=(30, 2)), tmp_path / "p"
    for name, value in (("means", 1e38), ("scales", -1), ("scales", 0), ("log_weights", -1e38)):
        kde.estimate(x, effort="fast").save(path)
        rewritten(
            path, lambda _, arrays, name=name, value=value: arrays[f"encoded.mixture_{name}"].fill(value)
        )
        again = discoformer.load_estimate(path, kde)
        with (
            np.errstate(all="ignore"),
            pytest.raises(discoformer.ModelError, match=r"not finite|no covariance|no component"),
        ):
            again.log_density(x)


@pytest.mark.parametrize("folder", ["/etc", "../models/base", "./base", "base/../base", "~", ""])
def test_the_file_does_not_choose_a_folder(
    estimate: discoformer.Estimate, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p"
    estimate.save(path)
    rewritten(path, lambda about, _: about.update({"model": folder}))
    opened: list[Any] = []
    monkeypatch.setattr(discoformer.model, "load", opened.append)
    with pytest.raises(discoformer.ModelNotFoundError, match="does not come with this version"):
        discoformer.load_estimate(path)
    assert not opened


def test_the_user_may_give_the_folder_of_the_model(
    estimate: discoformer.Estimate, kde_folder: Path, tmp_path: Path
) -> None:
    estimate.save(tmp_path / "p")
    for folder in (kde_folder, str(kde_folder)):
        assert discoformer.load_estimate(tmp_path / "p", folder).model.folder == kde_folder


def test_a_small_archive_of_large_arrays_is_refused_before_memory_is_taken(
    estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path
) -> None:
    """Also one with the header of a huge array, and one whose directory has very many entries."""
    path, file = tmp_path / "p", io.BytesIO()
    estimate.save(path)
    arrays = read_arrays(path)
    np.savez_compressed(file, **(arrays | {"encoded.vectors": np.zeros(2 * 10**7)}))
    bombs = [file.getvalue()]
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    for names in (["encoded.vectors.npy"], [f"{i}.npy" for i in range(2000)]):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        bombs.append(file.getvalue())
    for bomb in bombs:
        body = bomb[:-2] + (64).to_bytes(2, "little")
        path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
        tracemalloc.start()
        with pytest.raises(discoformer.InputError, match="is damaged"):
            discoformer.load_estimate(path, kde)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(bomb) + 10**6
        tracemalloc.stop()


def test_a_link_is_not_read(estimate: discoformer.Estimate, kde: discoformer.Model, tmp_path: Path) -> None:
    estimate.save(tmp_path / "file")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(discoformer.InputError, match="is a symbolic link, needed a regular file"):
        discoformer.load_estimate(tmp_path / "link", kde)
