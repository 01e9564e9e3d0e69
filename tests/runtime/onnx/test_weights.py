"""New weights replace the old ones in every file, and nothing else changes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load, save

from discoformer.errors import ModelError
from discoformer.onnx.weights import TRANSPOSED, read_weights_file, replaced, with_weights

FOLDER = Path(__file__).parents[3] / "models" / "base"
FILES = ("encode.onnx", "query.onnx")  # of the heads
WEIGHTS = (FOLDER / "weights.safetensors").read_bytes()


def initializers(content: bytes) -> dict[str, np.ndarray]:
    graph = onnx.load_model_from_string(content).graph
    return {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def metadata(content: bytes) -> dict[str, str]:
    return {item.key: item.value for item in onnx.load_model_from_string(content).metadata_props}


def test_the_weights_file_is_read_as_its_library_reads_it() -> None:
    ours, theirs = read_weights_file(WEIGHTS), load(WEIGHTS)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)


def test_parameters_of_the_weights_file_are_replaced(rng: np.random.Generator) -> None:
    bias = rng.normal(size=11)
    found = load(replaced(WEIGHTS, {"heads.linear.bias": bias}))
    np.testing.assert_array_equal(found.pop("heads.linear.bias"), bias.astype(np.float32))
    for name, array in found.items():
        np.testing.assert_array_equal(array, load(WEIGHTS)[name])


@pytest.mark.parametrize("name", FILES)
def test_new_weights_stand_in_the_place_of_the_old(name: str, rng: np.random.Generator) -> None:
    content = (FOLDER / name).read_bytes()
    drawn = {key: rng.normal(size=array.shape).astype(np.float32) for key, array in load(WEIGHTS).items()}
    weights = save(drawn)
    changed = with_weights(content, weights, FOLDER / name)
    onnx.checker.check_model(changed)
    before, after = initializers(content), initializers(changed)
    assert before.keys() == after.keys()
    for key, array in after.items():
        parameter = drawn.get(key.removesuffix(TRANSPOSED))
        if parameter is None:
            np.testing.assert_array_equal(array, before[key])
        elif key.endswith(TRANSPOSED):
            np.testing.assert_array_equal(array, parameter.reshape(-1, parameter.shape[-1]).T)
        else:
            np.testing.assert_array_equal(array, parameter)
    said = metadata(content)
    said |= {"version": said["version"] + "+adapted", "weights_sha256": hashlib.sha256(weights).hexdigest()}
    assert metadata(changed) == said


@pytest.mark.parametrize("name", FILES)
def test_the_same_weights_change_nothing_but_the_version(name: str) -> None:
    content = (FOLDER / name).read_bytes()
    changed = with_weights(content, WEIGHTS, FOLDER / name)
    version = metadata(content)["version"].encode()
    assert len(changed) == len(content) + len("+adapted")
    assert with_weights(changed, WEIGHTS, FOLDER / name) == changed
    assert changed.replace(version + b"+adapted", version, 1)[:1000] == content[:1000]


def test_weights_of_another_size_are_refused() -> None:
    weights = save({"heads.linear.bias": np.zeros(3, np.float32)})
    with pytest.raises(ModelError, match=r"has 44 bytes for heads\.linear\.bias, but .* have 12"):
        with_weights((FOLDER / "query.onnx").read_bytes(), weights, Path("query.onnx"))


def safetensors(header: str, *places: tuple[int, int], size: int = 8) -> bytes:
    """A file of tensors of one number each, at these places of the data."""
    entries = [json.dumps({"dtype": "F32", "shape": [1], "data_offsets": place}) for place in places]
    text = (header % tuple(entries)).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def test_tensors_that_follow_one_another_are_read() -> None:
    found = read_weights_file(safetensors('{"b": %s, "a": %s}', (4, 8), (0, 4)))
    assert {name: array.shape for name, array in found.items()} == {"a": (1,), "b": (1,)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05\x00\x00\x00\x00\x00\x00\x00hello",
        WEIGHTS[:1000],
        WEIGHTS[:-4],
        save({"a": np.zeros(2, np.float64)}),
        (2).to_bytes(8, "little") + b"[]",
        safetensors('{"a": %s, "a": %s}', (0, 4), (4, 8)),
        safetensors('{"a": %s, "b": %s}', (0, 4), (0, 4)),
        safetensors('{"a": %s, "b": %s}', (0, 4), (4, 8), size=12),
        safetensors('{"a": %s, "b": %s}', (4, 8), (8, 12), size=12),
        safetensors('{"a": %s, "b": %s}', (-4, 0), (0, 8)),
        safetensors("[" * 100_000 + "%s%s", (0, 4), (4, 8)),
    ],
)
def test_other_files_are_no_weights(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"here\.safetensors must be a safetensors file of float32 weights"):
        read_weights_file(content, Path("here.safetensors"))
