"""encode.onnx and query.onnx, one after the other, compute what the heads do."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import discoformer
from discoformer.onnx.names import ANSWERS, STATES
from discoformer_export.checks.golden import all_inputs, answer_framed, raw_inputs
from discoformer_export.checks.parity import TOLERANCE
from discoformer_export.errors import ExportError
from discoformer_export.files.onnx_files import to_onnx
from discoformer_export.graphs.network import GRAPHS, Query, example_inputs
from discoformer_training.data.context import Context
from discoformer_training.nn.network import DiScoFormer, Encoded


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < TOLERANCE * (1 + np.abs(expected).max())


def test_the_encoding_has_the_fields_that_the_graphs_name() -> None:
    assert Encoded._fields == STATES


def test_encode_then_query_is_the_network(models: dict[str, onnx.ModelProto], network: DiScoFormer) -> None:
    given = example_inputs(network.config, 3, 29, 13, 4, 2, 6, seed=5)
    arrays = {name: value.numpy() for name, value in given.items() if name not in STATES}
    for name, graph in GRAPHS.items():
        session = onnxruntime.InferenceSession(
            models[name].SerializeToString(), providers=["CPUExecutionProvider"]
        )
        found = session.run(graph.outputs, {key: arrays[key] for key in graph.inputs})
        arrays |= zip(graph.outputs, found, strict=True)
    with torch.no_grad():
        expected = network(Context.from_inputs(given), given["queries"])
    for name, answer in zip(ANSWERS, expected, strict=True):
        assert_close(arrays[name], answer.numpy())


def test_the_runtime_gives_the_answers_of_the_network(folder: Path, network: DiScoFormer) -> None:
    """Of mixed independent variables, so that the base has a product."""
    raw, framed = raw_inputs()["independent"], all_inputs(folder)["framed"]["independent"]
    assert framed["product_share"] > 0
    expected = answer_framed(deepcopy(network).double(), framed)
    fitted = discoformer.load(folder, device="cpu").estimate(raw["context"][0])
    log_density, score = fitted.log_density_and_score(raw["queries"][0])
    assert_close(log_density, fitted.frame.log_density_to_data(expected["log_density"][0]))
    assert_close(score, fitted.frame.score_to_data(expected["score"][0]))


class _FixesTheDimension(Query):
    """A network that reads D as a number, which tracing would bake in."""

    def query(self, queries, encoded, log_weights, precision_root, base):
        scale = float(int(queries.shape[-1]) + (1 if int(queries.shape[-1]) > 4 else 0))
        return super().query(queries / scale, encoded, log_weights, precision_root, base)


def test_a_graph_with_a_fixed_axis_is_refused(network: DiScoFormer) -> None:
    shallow = DiScoFormer(replace(network.config, blocks=1))
    with pytest.raises(ExportError, match="not dynamic"):
        to_onnx(replace(GRAPHS["query"], module=_FixesTheDimension), shallow, {})
