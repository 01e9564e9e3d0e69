"""The interface as an OpenAPI document, and as a page that needs nothing from elsewhere."""

import json
from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from typing import Any

from discoformer.serve.limits import Limits
from discoformer.serve.served import Served
from discoformer.serve.tensors import NAMES, Spec

_JSON = "application/json"
_BINARY = "application/octet-stream"
_STYLE = "body{font:1rem/1.5 system-ui;max-width:60rem;margin:auto;padding:1rem}pre{white-space:pre-wrap}"
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"enum": ["FP64", "FP32"]},
        "data": {
            "type": "array",
            "description": "Numbers in row-major order, flat or nested as the shape is.",
        },
        "parameters": {
            "type": "object",
            "properties": {
                "binary_data_size": {
                    "type": "integer",
                    "description": "Bytes behind the JSON, in place of data.",
                }
            },
        },
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "description": "Those that are wanted; by default all.",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                },
            },
        },
        "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
    },
}
_ANSWER = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object", "properties": {"warnings": {"type": "string"}}},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_ERRORS = {
    "400": "The request is malformed, or its numbers cannot be answered.",
    "401": "The token is missing or wrong.",
    "404": "There is no such model.",
    "408": "The body did not come in time.",
    "411": "There is no Content-Length.",
    "413": "The request is beyond a limit.",
    "415": "The body is compressed.",
    "500": "The service failed; its log says more.",
    "503": "There is no room: send the request again after the seconds in Retry-After.",
}


def openapi(models: Mapping[str, Served], limits: Limits) -> dict[str, Any]:
    """Return the OpenAPI document of a service."""
    paths: dict[str, Any] = {
        "/v2": _get("Name, version and extensions of the service"),
        "/v2/health/live": _get("Whether the service runs"),
        "/v2/health/ready": _get("Whether it can answer"),
        "/metrics": _get("Metrics for Prometheus", "text/plain"),
    }
    for served in models.values():
        for root in (f"/v2/models/{served.name}", f"/v2/models/{served.name}/versions/{served.version}"):
            paths[root] = _get(f"Tensors of {served.name}")
            paths[f"{root}/ready"] = _get(f"Whether {served.name} can answer")
            paths[f"{root}/infer"] = {"post": _infer(served)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "discoformer",
            "version": version("discoformer"),
            "description": "Density and score of the distribution behind a sample, by the Open Inference "
            f"Protocol. A request has {limits.body} bytes or fewer, {limits.json} of them JSON. A tensor has "
            f"{limits.rows} rows and {limits.columns} columns or fewer. A request is given up after "
            f"{limits.seconds:g} s.",
        },
        "paths": paths,
    }


def _get(summary: str, kind: str = _JSON) -> dict[str, Any]:
    schema = {"type": "object"} if kind == _JSON else {"type": "string"}
    answer = {"description": summary, "content": {kind: {"schema": schema}}}
    return {"get": {"summary": summary, "responses": {"200": answer}}}


def _infer(served: Served) -> dict[str, Any]:
    takes, gives = (", ".join(map(_described, specs)) for specs in (served.inputs, served.outputs))
    about = "; ".join(f"{key}: {value}" for key, value in served.about.items() if value)
    return {
        "summary": f"Answers of {served.name}",
        "description": f"Takes {takes}. Gives {gives}. {about}",
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {"schema": _REQUEST, "example": _example(served)},
                _BINARY: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {"description": "The answers", "content": {_JSON: {"schema": _ANSWER}}},
            **{
                status: {"description": text, "content": {_JSON: {"schema": _ERROR}}}
                for status, text in _ERRORS.items()
            },
        },
    }


def _described(spec: Spec) -> str:
    return f"{spec.name} {list(spec.shape)}" + (" (may be left out)" if spec.is_optional else "")


def _example(served: Served) -> dict[str, Any]:
    """Return a request that is answered."""
    tensors, parameters = served.example()
    inputs = [
        {"name": name, "shape": list(tensor.shape), "datatype": NAMES[tensor.dtype], "data": tensor.tolist()}
        for name, tensor in tensors.items()
    ]
    return {"inputs": inputs, "parameters": dict(parameters)}


def page(document: Mapping[str, Any], root: str) -> str:
    """Return a page in HTML that shows an OpenAPI document.

    Args:
        document: The document.
        root: Address of the service, for the examples.
    """
    parts = [
        f"<p>{escape(document['info']['description'])}</p>",
        '<p><a href="/openapi.json">openapi.json</a></p>',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
            )
            parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
            if "requestBody" in operation:
                example = json.dumps(operation["requestBody"]["content"][_JSON]["example"])
                command = f"curl {root.rstrip('/')}{path} -d '{example}'"
                answers = "".join(
                    f"<li>{status}: {escape(answer['description'])}</li>"
                    for status, answer in operation["responses"].items()
                )
                parts.append(f"<pre>{escape(command)}</pre><ul>{answers}</ul>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>discoformer</title>'
        f"<style>{_STYLE}</style><h1>discoformer</h1>{''.join(parts)}</html>"
    )
