"""Only files that their folder records, or that were released, are loaded, unless the user trusts them."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import discoformer
from discoformer.errors import InputError, ModelError, ModelNotFoundError
from discoformer.onnx.model_files import CONFIG

RELEASED = Path(__file__).parents[3] / "models" / "base"
FILES = ("mixture.onnx", "encode.onnx", "query.onnx", "weights.safetensors", "mixture.safetensors", CONFIG)


def load(folder: Path, **options: Any) -> discoformer.Model:
    return discoformer.load(folder, "cpu", 1, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the released model."""
    for name in FILES:
        shutil.copy(RELEASED / name, tmp_path)
    return tmp_path


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / CONFIG).read_bytes())


def record(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Writes the hashes of the files into config.json, as a stranger would, and changes it."""
    config = described(folder)
    for name in config["files"]:
        if (folder / name).exists():
            config["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def rename(folder: Path, **metadata: str) -> None:
    """Changes the metadata of the graphs."""
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        for entry in model.metadata_props:
            entry.value = metadata.get(entry.key, entry.value)
        onnx.save(model, path)


def test_a_copy_of_a_released_model_loads(folder: Path) -> None:
    assert load(folder).metadata.version == load(RELEASED).metadata.version
    (folder / "mixture.safetensors").unlink()  # as in the wheel
    load(folder)


def test_a_folder_without_a_record_needs_trust(kde_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(kde_folder, tmp_path, dirs_exist_ok=True)
    for content in (None, "{}", '{"files": {}}', '{"files": 3}', '{"files": null}'):
        (tmp_path / CONFIG).unlink(missing_ok=True)
        if content:
            (tmp_path / CONFIG).write_text(content)
        with pytest.raises(ModelError, match=r"no record of its files .* pass trust=True"):
            load(tmp_path)
        assert load(tmp_path, trust=True).metadata.name == "stand-in"


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"[]"])
def test_a_record_that_is_no_json_object_is_refused(kde_folder: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(kde_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json (is not JSON|holds no JSON object)"):
        load(tmp_path)


def test_a_file_that_differs_from_the_record_needs_trust(kde_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(kde_folder, tmp_path, dirs_exist_ok=True)
    rename(tmp_path, exporter="another")
    with pytest.raises(ModelError, match=r"has the SHA-256 \w{64}, needed \w{64} as recorded"):
        load(tmp_path)
    assert load(tmp_path, trust=True).metadata.exporter == "another"


@pytest.mark.parametrize("trust", [False, True])
def test_a_model_that_claims_to_be_a_released_one_must_have_its_files(folder: Path, trust: bool) -> None:
    rename(folder, exporter="a stranger")
    record(folder)
    with pytest.raises(ModelError, match=r"but in the released model 'base' \d+ it is"):
        load(folder, trust=trust)
    rename(folder, name="mine", mixture_sha256=described(folder)["mixture"]["weights_sha256"])
    record(folder)
    assert load(folder).metadata.name == "mine"


@pytest.mark.parametrize("name", [CONFIG, "weights.safetensors", "mixture.safetensors"])
def test_every_file_of_a_released_model_is_compared(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load(folder)


def test_weights_that_are_not_those_of_the_graphs_are_refused(folder: Path) -> None:
    """Of models that are not released, whoever wrote the record: the hash in the metadata, and the values."""
    rename(folder, name="mine")
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-2] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    record(folder)
    with pytest.raises(ModelError, match="are not those of the graphs"):
        load(folder)
    rename(folder, weights_sha256=hashlib.sha256(content).hexdigest())
    (folder / "mixture.onnx").write_bytes((RELEASED / "mixture.onnx").read_bytes())
    record(folder)
    with pytest.raises(ModelError, match="other weights than the safetensors file"):
        load(folder)


@pytest.mark.parametrize("name", [CONFIG, "encode.onnx", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "sparse"])
def test_what_is_no_regular_file_of_a_bounded_size_is_refused(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    if kind == "sparse":
        os.truncate(path, 2**40)
    else:
        path.unlink()
        {
            "pipe": lambda: os.mkfifo(path),
            "folder": path.mkdir,
            "link": lambda: path.symlink_to(RELEASED / name),
        }[kind]()
    if name != CONFIG and kind in ("pipe", "folder"):  # it counts as absent
        assert load(folder).graphs.main_effort == ("fast" if name == "encode.onnx" else "best")
        return
    with pytest.raises((ModelError, ModelNotFoundError)):
        load(folder)


@pytest.mark.parametrize("given", [None, 3, b"base", "", ["base"], "a\0b"])
def test_what_names_no_model_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="path_or_name must be"):
        discoformer.load(given)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("landmarks", "-1", "landmarks is -1, needed 1"),
        ("landmarks", "1" * 30, "landmarks is 1"),
        ("trained_dim_max", "0", "trained_dim_max is 0"),
        ("trained_context_min", "9999", "above 8192"),
        ("config", "[" * 100_000, "RecursionError"),
    ],
)
def test_metadata_out_of_range_are_refused(
    other_folder: Callable[..., Path], key: str, value: str, said: str
) -> None:
    with pytest.raises(ModelError, match=rf"no usable metadata .*{said}"):
        load(other_folder(encode={key: value}, query={key: value}))


def test_metadata_that_are_not_utf8_are_refused(kde_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(kde_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "query.onnx"
    path.write_bytes(path.read_bytes().replace(b"stand-in", b"stand-\xff\xfe"))
    with pytest.raises(ModelError, match="text that is not UTF-8"):
        load(tmp_path, trust=True)


def test_outputs_of_another_rank_are_refused(kde_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(kde_folder, tmp_path, dirs_exist_ok=True)
    model = onnx.load(tmp_path / "encode.onnx")
    for node in model.graph.node:
        if node.output[0] == "sample":
            node.op_type, node.input[:] = "Neg", ["effective_size"]
    del model.graph.output[2].type.tensor_type.shape.dim[1]
    onnx.save(model, tmp_path / "encode.onnx")
    p = load(tmp_path, trust=True)
    with pytest.raises(ModelError, match=r"sample of float32, shape \(1,\), needed float32, shape \(1, G\)"):
        p.estimate(np.random.default_rng(0).normal(size=(20, 2)))


@pytest.mark.parametrize(("n", "dim"), [(20, 2), (1500, 3), (60, 30)])
def test_a_model_of_ones_own_answers_as_the_released_one_within_its_memory(
    folder: Path, n: int, dim: int
) -> None:
    """The same weights under another name: no constants are folded, and memory is bounded."""
    rename(folder, name="mine")
    record(folder)
    x = np.random.default_rng(0).normal(size=(n, dim))
    for effort in ("fast", "best"):
        ours, released = (
            load(place).estimate(x, effort=effort).log_density_and_score(x)  # type: ignore[arg-type]
            for place in (folder, RELEASED)
        )
        for a, b in zip(ours, released, strict=True):
            np.testing.assert_array_equal(a, b)
