"""Saved groups are a model of their own name; a request names the group."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discoformer
from tests.serve.service import running, tensor


@pytest.fixture(scope="module")
def table() -> Any:
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    shops = np.repeat(["north", "south", "small"], [40, 60, 1])
    return pandas.DataFrame(
        {"shop": shops, "year": 2026, "a": rng.normal(size=101), "b": rng.normal(size=101)}
    )


@pytest.mark.parametrize("by", ["shop", ["shop", "year"]])
def test_saved_groups_answer_by_the_group_that_a_request_names(
    table: Any, by: Any, model: discoformer.Model, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "shops.groups"
    columns = ["a", "b"]
    with pytest.warns(discoformer.DataWarning, match="Skipped"):
        groups = discoformer.estimate_groups(table, by=by, columns=columns, path=path, model=model)
    queries = rng.normal(size=(5, 2))
    body = {"inputs": [tensor("queries", queries)]}
    with running(str(path)) as service:
        _, about, _ = service.ask("GET", "/v2/models/shops")
        assert about["parameters"]["columns"] == columns
        assert about["parameters"]["by"] == ([by] if isinstance(by, str) else by)
        assert about["parameters"]["groups"] == 2
        for shop in ("north", "south", "north"):
            key: Any = shop if by == "shop" else [shop, 2026]
            status, answer = service.infer("shops", body | {"parameters": {"group": key}})
            assert status == 200
            expected = groups[shop if by == "shop" else (shop, 2026)].log_density(queries)
            np.testing.assert_array_equal(answer["outputs"][0]["data"], expected)
        for key, text in (
            ("west", "the group"),
            ("small", "was skipped" if by == "shop" else "the group"),
            ({}, "a key must be text"),
            ([["north"]], "a key must be text"),
            (0.5, "a key must be text"),
            (None, "the group None is not there"),
        ):
            status, answer = service.infer("shops", body | {"parameters": {"group": key}})
            assert (status, text in answer["error"]) == (400, True), answer
            assert "list(" not in answer["error"]
        status, answer = service.infer("shops", body)
        assert status == 400
        assert "shops needs the parameter group, a value of shop" in answer["error"]
        document = service.ask("GET", "/openapi.json")[1]
        asked = document["paths"]["/v2/models/shops/infer"]["post"]["requestBody"]["content"][
            "application/json"
        ]
        assert service.infer("shops", asked["example"])[0] == 200
