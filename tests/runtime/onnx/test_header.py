"""The header of an ONNX file, read without onnxruntime, is the one that the onnx package reads."""

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discoformer.errors import ModelError
from discoformer.onnx.header import checked_metadata, read_header
from discoformer.onnx.names import GRAPHS

FOLDER = Path(__file__).parents[3] / "models" / "base"
ENCODE, QUERY = GRAPHS["best"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.onnx")), ids=lambda path: path.name)
def test_it_is_that_of_the_onnx_package(path: Path) -> None:
    found, model = read_header(path.read_bytes()), onnx.load(path)
    assert found.inputs == {value.name for value in model.graph.input}
    assert found.outputs == {value.name for value in model.graph.output}
    assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}


def test_names_that_do_not_fit() -> None:
    path = FOLDER / ENCODE.file
    content = path.read_bytes()
    assert checked_metadata(path, content, ENCODE).name == "base"
    with pytest.raises(ModelError, match=r"missing outputs \['log_density', 'score'\]"):
        checked_metadata(path, content, QUERY)
    with pytest.raises(ModelError, match=r"unknown inputs \['queries', 'sample', 'scalars', 'vectors'\]"):
        checked_metadata(path, (FOLDER / QUERY.file).read_bytes(), ENCODE)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(place=st.floats(0, 1), change=st.binary(min_size=1, max_size=3), length=st.floats(0.2, 1))
def test_damage_is_an_error_of_the_model_or_harmless(place: float, change: bytes, length: float) -> None:
    content = bytearray(SMALL)
    start = int(place * (len(content) - len(change)))
    content[start : start + len(change)] = change
    with suppress(ModelError):
        checked_metadata(Path("model.onnx"), bytes(content[: int(length * len(content))]), ENCODE)


def small() -> bytes:
    """The released encode graph without nodes and weights."""
    model = onnx.load(FOLDER / ENCODE.file)
    for field in (model.graph.node, model.graph.initializer, model.graph.value_info):
        del field[:]
    return model.SerializeToString()


SMALL = small()
