"""The Open Inference Protocol, spoken by its own client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from tests.serve.service import Service, tensor

triton = pytest.importorskip("tritonclient.http")

Estimates = dict[str, discoformer.Estimate]


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    with triton.InferenceServerClient(service.address) as found:
        yield found


def inputs_of(arrays: dict[str, np.ndarray], binary: bool) -> list[Any]:
    found = []
    for name, array in arrays.items():
        datatype = {"float64": "FP64", "float32": "FP32"}[array.dtype.name]
        item = triton.InferInput(name, array.shape, datatype)
        item.set_data_from_numpy(array, binary_data=binary)
        found.append(item)
    return found


def outputs_of(*names: str, binary: bool) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_the_service_is_live_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("best")
    assert client.is_model_ready("best", "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("best", "2")
    about = client.get_server_metadata()
    assert about["name"] == "discoformer"
    assert about["version"] == discoformer.__version__
    assert about["extensions"] == ["binary_tensor_data"]


def test_metadata_of_an_estimate(client: Any) -> None:
    about = client.get_model_metadata("best")
    assert about["versions"] == ["1"]
    assert about["inputs"] == [{"name": "queries", "datatype": "FP64", "shape": [-1, 2]}]
    assert [item["name"] for item in about["outputs"]] == ["log_density", "score"]
    assert about["parameters"]["columns"] == ["length", "width"]
    assert about["parameters"]["effort"] == "best"


def test_metadata_of_the_model(client: Any, model: discoformer.Model) -> None:
    about = client.get_model_metadata("base", model.metadata.version)
    assert about["versions"] == [model.metadata.version]
    assert {item["name"]: item["shape"] for item in about["inputs"]} == {
        "context": [-1, -1, -1],
        "queries": [-1, -1, -1],
        "log_weights": [-1, -1],
    }


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("width", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["best", "fast"])
@pytest.mark.parametrize("rows", [1, 7, 1025])
def test_an_estimate_answers_to_the_bit_as_the_package(
    client: Any, estimates: Estimates, iris: np.ndarray, name: str, rows: int, width: Any, binary: bool
) -> None:
    queries = np.resize(iris, (rows, 2)).astype(width)
    names = ("log_density", "score")
    found = client.infer(
        name, inputs_of({"queries": queries}, binary), outputs=outputs_of(*names, binary=binary)
    )
    expected = estimates[name].log_density_and_score(queries)
    for output, wanted in zip(names, expected, strict=True):
        got = found.as_numpy(output)
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_no_query_has_no_answer(client: Any) -> None:
    found = client.infer("best", inputs_of({"queries": np.empty((0, 2))}, True))
    assert found.as_numpy("log_density").shape == (0,)
    assert found.as_numpy("score").shape == (0, 2)


def test_outputs_are_those_asked_for_each_in_its_form(client: Any, iris: np.ndarray) -> None:
    wanted = [*outputs_of("score", binary=False), *outputs_of("log_density", binary=True)]
    given = inputs_of({"queries": iris}, True)
    found = client.infer("best", given, "1", outputs=wanted, request_id="seven").get_response()
    assert [item["name"] for item in found["outputs"]] == ["score", "log_density"]
    assert ["data" in item for item in found["outputs"]] == [True, False]
    assert (found["id"], found["model_name"], found["model_version"]) == ("seven", "best", "1")
    alone = client.infer("best", given, outputs=outputs_of("score", binary=True)).get_response()
    assert [item["name"] for item in alone["outputs"]] == ["score"]


@pytest.mark.parametrize("effort", ["best", "fast"])
@pytest.mark.parametrize("shape", [(1, 20, 1, 3), (3, 50, 2, 5), (17, 12, 3, 2)], ids=str)
def test_the_model_reads_samples(
    client: Any, model: discoformer.Model, rng: np.random.Generator, shape: tuple[int, ...], effort: Any
) -> None:
    batch, rows, dim, asked = shape
    context = rng.normal(size=(batch, rows, dim))
    queries = rng.normal(size=(batch, asked, dim))
    logs = rng.normal(size=(batch, rows))
    logs[:, -2:] = -1e30  # absent
    arrays = {"context": context, "queries": queries, "log_weights": logs}
    found = client.infer("base", inputs_of(arrays, True), parameters={"effort": effort})
    expected = [
        estimate.log_density_and_score(at)
        for part in range(0, batch, 16)
        for estimate, at in zip(
            model.estimate_batch(
                list(context[part : part + 16]),
                list(np.exp(logs - logs.max(1, keepdims=True))[part : part + 16]),
                effort=effort,
            ),
            queries[part : part + 16],
            strict=True,
        )
    ]
    np.testing.assert_array_equal(found.as_numpy("log_density"), np.stack([one for one, _ in expected]))
    np.testing.assert_array_equal(found.as_numpy("score"), np.stack([both for _, both in expected]))


@pytest.mark.filterwarnings("ignore::discoformer.RangeWarning")
def test_the_model_says_what_speaks_against_an_estimate(client: Any) -> None:
    x = np.array([[[1.0], [2.0], [4.0], [5.5]]])
    found = client.infer("base", inputs_of({"context": x, "queries": x}, True)).get_response()
    assert "context[0] (X): X has 4 rows, outside the 8" in found["parameters"]["warnings"]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"effort": "quick"}, "effort must be 'fast'"),
        ({"effort": 1}, "effort must be 'fast'"),
        ({"rounding": "up"}, 'rounding must be "auto" or "none"'),
        ({"allow_singular": "yes"}, "allow_singular must be true or false"),
        ({"efort": "fast"}, "base takes only the parameters effort, rounding, allow_singular, got 'efort'"),
    ],
)
def test_a_wrong_parameter_is_named(client: Any, iris: np.ndarray, parameters: Any, text: str) -> None:
    given = inputs_of({"context": iris[None], "queries": iris[None, :1]}, True)
    with pytest.raises(triton.InferenceServerException, match=text) as caught:
        client.infer("base", given, parameters=parameters)
    assert caught.value.status() == "400"


def test_an_estimate_takes_no_parameter_of_the_model(client: Any, iris: np.ndarray) -> None:
    with pytest.raises(triton.InferenceServerException, match="best takes no parameters, got 'effort'"):
        client.infer("best", inputs_of({"queries": iris}, True), parameters={"effort": "fast"})
    client.infer("best", inputs_of({"queries": iris}, True), priority=1, timeout=10**6)


@pytest.mark.filterwarnings("ignore::discoformer.DataWarning")
def test_rounding_and_singular_samples_are_those_of_the_package(
    client: Any, model: discoformer.Model, iris: np.ndarray, rng: np.random.Generator
) -> None:
    given = inputs_of({"context": iris[None], "queries": iris[None]}, True)
    found = client.infer("base", given, parameters={"rounding": "none", "effort": "fast"})
    expected = model.estimate(iris, effort="fast", rounding=None).log_density(iris)
    np.testing.assert_array_equal(found.as_numpy("log_density")[0], expected)
    points = rng.normal(size=(60, 2))
    plane = np.c_[points, points.sum(1)][None]
    given = inputs_of({"context": plane, "queries": plane}, True)
    with pytest.raises(triton.InferenceServerException, match=r"context\[0\] \(X\)") as caught:
        client.infer("base", given)
    assert caught.value.status() == "400"
    found = client.infer("base", given, parameters={"allow_singular": True})
    assert np.isfinite(found.as_numpy("log_density")).all()


def test_off_the_hull_of_a_singular_sample_json_has_no_answer(client: Any) -> None:
    given = inputs_of({"queries": np.array([[1.4, 0.2, 9.0]])}, True)
    found = client.infer("plane", given)
    assert found.as_numpy("log_density")[0] == -np.inf
    with pytest.raises(
        triton.InferenceServerException, match=r"log_density is -inf at index .* binary outputs"
    ):
        client.infer("plane", given, outputs=outputs_of("log_density", binary=False))


def test_errors_reach_the_client(client: Any, iris: np.ndarray) -> None:
    for name, arrays, status, text in (
        ("other", {"queries": iris}, "404", "there is no model 'other': choose of base"),
        ("best", {"queries": iris[:, :1]}, "400", r"queries must have shape \[-1, 2\]"),
        ("best", {"querys": iris}, "400", "best takes queries, got 'querys'"),
        ("base", {"context": iris[None]}, "400", "base needs the input queries"),
        (
            "best",
            {"queries": np.full((2, 2), np.nan)},
            "400",
            r"queries must be finite, got nan at index \[0, 0\]",
        ),
    ):
        with pytest.raises(triton.InferenceServerException, match=text) as caught:
            client.infer(name, inputs_of(arrays, True))
        assert caught.value.status() == status
    with pytest.raises(triton.InferenceServerException, match="Not Found"):
        client.get_model_config("best")


def test_nested_and_flat_lists_are_the_same(service: Service, iris: np.ndarray) -> None:
    flat = tensor("queries", iris)
    nested = flat | {"data": iris.tolist()}
    answers = [service.infer("best", {"inputs": [item]}) for item in (flat, nested)]
    assert answers[0] == answers[1]
    assert answers[0][0] == 200


def test_a_name_may_be_given(files: dict[str, Path]) -> None:
    from discoformer.serve.opening import open_all

    served = open_all([f"petals={files['fast']}", str(files["fast"]), "base"], "base", "cpu")
    assert list(served) == ["petals", "fast", "base"]
