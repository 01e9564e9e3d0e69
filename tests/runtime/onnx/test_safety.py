"""Unsafe model files are refused before onnxruntime opens them."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from discoformer.errors import ModelError
from discoformer.onnx import safety
from discoformer.onnx.safety import check_files

FOLDER = Path(__file__).parents[3] / "models" / "base"
NAME = Path("nowhere/model.onnx")
OPSETS = [helper.make_opsetid("", 18)]

Make = Callable[[], onnx.ModelProto]


def model(*nodes: NodeProto, tensors: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    """A model that returns its input and has further nodes and initialisers."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy")
    identity = helper.make_node("Identity", ["x"], ["y"])
    return helper.make_model(
        helper.make_graph([identity, *nodes], "g", [x], [y], tensors), opset_imports=OPSETS
    )


def branch(inner: onnx.ModelProto) -> onnx.ModelProto:
    """A model with the graph of another model in a branch."""
    return model(helper.make_node("If", ["x"], ["z"], then_branch=inner.graph))


def deep(levels: int) -> onnx.ModelProto:
    made = model()
    for _ in range(levels):
        made = branch(made)
    return made


def opset(domain: str) -> onnx.ModelProto:
    made = model()
    made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def outside(*, said: bool = True) -> TensorProto:
    """A tensor with the path of another file; ``said``: whether its location is set to external."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../secret")
    if said:
        tensor.data_location = TensorProto.EXTERNAL
    return tensor


def constant(value: TensorProto | SparseTensorProto | list[TensorProto]) -> onnx.ModelProto:
    return model(helper.make_node("Constant", [], ["z"], value=value))


def foreign() -> NodeProto:
    return helper.make_node("Gelu", ["x"], ["z"], domain="com.microsoft")


def function(domain: str, node: NodeProto) -> onnx.ModelProto:
    made = model()
    made.functions.append(helper.make_function(domain, "F", ["x"], ["z"], [node], OPSETS))
    return made


def training(tensor: TensorProto) -> onnx.ModelProto:
    made = model()
    made.training_info.add().algorithm.initializer.append(tensor)
    return made


ELSEWHERE = "stored in another file, needed all tensors in this one"
REFUSED: dict[str, tuple[Make, str]] = {
    "initialiser": (lambda: model(tensors=(outside(),)), ELSEWHERE),
    "path alone": (lambda: model(tensors=(outside(said=False),)), ELSEWHERE),
    "attribute": (lambda: constant(outside()), ELSEWHERE),
    "list of tensors": (lambda: constant([outside()]), ELSEWHERE),
    "sparse tensor": (lambda: constant(SparseTensorProto(values=outside(), dims=[3])), ELSEWHERE),
    "initialiser of a branch": (lambda: branch(model(tensors=(outside(),))), ELSEWHERE),
    "initialiser for training": (lambda: training(outside()), ELSEWHERE),
    "operator": (lambda: model(foreign()), "domain 'com.microsoft', needed only those of ONNX"),
    "operator of a branch": (lambda: branch(branch(model(foreign()))), "domain 'com.microsoft'"),
    "operator of a function": (lambda: function("", foreign()), "domain 'com.microsoft'"),
    "function": (lambda: function("mine", helper.make_node("Neg", ["x"], ["z"])), "domain 'mine'"),
    "opset": (lambda: opset("com.example"), "domain 'com.example'"),
    "opset of machine learning": (lambda: opset("ai.onnx.ml"), "domain 'ai.onnx.ml'"),
    "nesting": (lambda: deep(30), "more than 64 deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_do_harm_is_refused(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        check_files({NAME: make().SerializeToString()})
    assert f"{NAME} is not opened" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("make", [model, lambda: deep(15), lambda: opset("ai.onnx"), lambda: training(w())])
def test_what_does_no_harm_passes(make: Make) -> None:
    check_files({NAME: make().SerializeToString()})


def w() -> TensorProto:
    return numpy_helper.from_array(np.zeros(3, np.float32), "w")


def test_an_inverse_of_onnx_runtime_is_let_through() -> None:
    inverse = helper.make_node("Inverse", ["x"], ["z"], domain="com.microsoft")
    made = model(inverse)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    check_files({Path("inverse.onnx"): made.SerializeToString()})
    inverse.domain = "com.example"
    with pytest.raises(ModelError, match=r"domain 'com.example'"):
        check_files({Path("inverse.onnx"): model(inverse).SerializeToString()})


@pytest.mark.parametrize("field", ["domain", "location"])
def test_numbers_written_in_more_bytes_than_they_need_hide_nothing(field: str) -> None:
    """The tag takes two bytes instead of one, and the field is repeated with a harmless value."""
    if field == "domain":  # of a node: field 7, bytes
        plain, hidden = b"\x3a\x04evil\x3a\x00", b"\xba\x00\x84\x00evil\x3a\x00"
        wrap = [0x0A, 0x3A]  # node of graph, graph of model
    else:  # data_location of a tensor: field 14, varint, 2**32 + 1, which protobuf reads as 1
        plain, hidden = b"\x70\x01\x70\x00", b"\xf0\x00\x81\x80\x80\x80\x10\x70\x00"
        wrap = [0x2A, 0x3A]
    for value in (plain, hidden):
        content = value
        for tag in wrap:
            content = bytes([tag, len(content)]) + content
        with pytest.raises(ModelError, match=r"domain 'evil'|stored in another file"):
            check_files({NAME: content})


def test_every_field_of_onnx_that_could_hold_an_operator_or_a_tensor_is_walked() -> None:
    kinds = {
        "ModelProto": "model",
        "TrainingInfoProto": "training",
        "GraphProto": "graph",
        "FunctionProto": "function",
        "NodeProto": "node",
        "AttributeProto": "attribute",
        "SparseTensorProto": "sparse",
        "TensorProto": "tensor",
        "OperatorSetIdProto": "opset",
    }
    found: dict[str, dict[int, str]] = {}
    waiting = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name in found:
            continue
        found[message.name] = {}
        for field in message.fields:
            if field.message_type is not None:
                waiting.append(field.message_type)
                if field.message_type.name in kinds:
                    found[message.name][field.number] = kinds[field.message_type.name]
            if field.name == "domain" and message.name in (
                "NodeProto",
                "FunctionProto",
                "OperatorSetIdProto",
            ):
                found[message.name][field.number] = "domain"
    found["NodeProto"][NodeProto.OP_TYPE_FIELD_NUMBER] = "operator"
    found["TensorProto"] = {
        TensorProto.EXTERNAL_DATA_FIELD_NUMBER: "external",
        TensorProto.DATA_LOCATION_FIELD_NUMBER: "location",
    }
    needed = {kinds.get(name, name): fields for name, fields in found.items() if fields}
    walked = {
        kind: {number: held for (number, _), held in fields.items()} for kind, fields in safety._HELD.items()
    }
    assert walked == needed


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.onnx")))
def test_released_files_pass_quickly(name: str) -> None:
    content = (FOLDER / name).read_bytes()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        check_files({NAME: content})
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05  # takes about 0.005 on a slow, idle core


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 bytes"),
        (b"\x18\x00\x00\x00ORTM" + bytes(100), "format of onnxruntime"),
        (b"<!doctype html><title>404</title>", "is not ONNX"),
        (b"\x3a\x7f", "damaged"),
        (b"\x08" + b"\xff" * 11, "damaged"),
        (b"\x08\xff", "cut short"),
        (b"\x00\x00", "damaged"),
        (b"\x3a\x02\x08\x80\x01", "damaged"),  # a number that extends beyond the end of its message
    ],
)
def test_what_is_no_onnx_file_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        check_files({NAME: content})


def test_sizes_out_of_proportion_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = model(*(helper.make_node("Neg", ["x"], [f"z{i}"]) for i in range(100))).SerializeToString()
    monkeypatch.setattr(safety, "MOST_FIELDS", 300)
    with pytest.raises(ModelError, match="more than 300 fields"):
        check_files({NAME: content})
    monkeypatch.setattr(safety, "MOST_BYTES", 100)
    with pytest.raises(ModelError, match="bytes, needed 1 to 100"):
        check_files({NAME: content})


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=6)), min_size=1, max_size=8),
    length=st.integers(0, 10**6),
)
def test_damage_is_refused_or_harmless(changes: list[tuple[int, bytes]], length: int) -> None:
    """Whatever bytes are changed or cut off, the file is refused or contains nothing unsafe."""
    content = bytearray(SMALL)
    for place, new in changes:
        start = place % len(SMALL)
        content[start : start + len(new)] = new
    for damaged in (bytes(content), bytes(content[: length % len(content)])):
        try:
            check_files({NAME: damaged})
        except ModelError:
            continue
        parsed = _parsed(damaged)
        assert parsed is None or not _harmful(parsed)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_or_harmless(content: bytes) -> None:
    try:
        check_files({NAME: content})
    except ModelError:
        return
    parsed = _parsed(content)
    assert parsed is None or not _harmful(parsed)


SMALL = branch(
    model(helper.make_node("Neg", ["x"], ["z"], domain="ai.onnx"), tensors=(w(),))
).SerializeToString()


def _parsed(content: bytes) -> onnx.ModelProto | None:
    try:
        return onnx.ModelProto.FromString(content)
    except Exception:  # the errors of protobuf have no base class of their own
        return None


def _harmful(message: object) -> bool:
    """Whether a parsed message, of any kind, has something that must be refused."""
    if isinstance(message, TensorProto):
        return bool(message.external_data) or message.data_location != TensorProto.DEFAULT
    if isinstance(message, NodeProto | onnx.FunctionProto | onnx.OperatorSetIdProto) and (
        message.domain not in ("", "ai.onnx")
    ):
        return True
    parts = [value for field, value in message.ListFields() if field.message_type is not None]
    return any(_harmful(item) for part in parts for item in (part if hasattr(part, "__len__") else [part]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with released files and a record of their hashes."""
    hashes = {}
    for name in ("encode.onnx", "query.onnx"):
        shutil.copy(FOLDER / name, tmp_path)
        hashes[name] = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    (tmp_path / "config.json").write_text(json.dumps({"files": hashes}))
    return tmp_path


def read(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("*.onnx")}


def test_files_that_their_folder_records_pass(folder: Path) -> None:
    check_files(read(folder))
    (folder / "config.json").write_text("{}")  # as written by an older export
    check_files(read(folder))
    (folder / "config.json").unlink()
    check_files(read(folder))


def test_a_file_of_another_export_is_refused(folder: Path) -> None:
    content = onnx.load(folder / "query.onnx")
    content.producer_name = "another"
    onnx.save(content, folder / "query.onnx")
    with pytest.raises(
        ModelError, match=r"query\.onnx has the SHA-256 \w{64}, needed \w{64} as recorded in .*config"
    ):
        check_files(read(folder))


@pytest.mark.parametrize("record", ['{"files": {}}', '{"files": 3}', '{"files": null}'])
def test_a_file_that_the_record_leaves_out_is_refused(folder: Path, record: str) -> None:
    (folder / "config.json").write_text(record)
    with pytest.raises(ModelError, match=r"needed None as recorded in .*config"):
        check_files(read(folder))


@pytest.mark.parametrize("record", ["{", "\udcff", "[" * 100_000])
def test_a_record_that_is_no_json_is_refused(folder: Path, record: str) -> None:
    (folder / "config.json").write_bytes(record.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=r"config\.json is not JSON"):
        check_files(read(folder))
