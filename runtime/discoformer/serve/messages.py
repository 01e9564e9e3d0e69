"""Requests and answers of the Open Inference Protocol, from bytes and to bytes.

A request is JSON; with the binary extension the bytes of tensors follow, and the header
``Inference-Header-Content-Length`` says where the JSON ends. So are answers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discoformer.io.inputs import AnyFloats, shown
from discoformer.serve.limits import Limits
from discoformer.serve.refusals import invalid, too_large
from discoformer.serve.tensors import NAMES, dtype_of, from_bytes, from_list, shape_of, to_list

LENGTH = "Inference-Header-Content-Length"
_IGNORED = {"priority", "timeout"}  # parameters of the protocol's clients that change no answer


@dataclass(frozen=True)
class Request:
    """What a request asks for."""

    id: str | None
    tensors: Mapping[str, AnyFloats]
    parameters: Mapping[str, Any]  # those that are meant for the model
    outputs: Mapping[str, bool]  # names of the outputs that are wanted, and whether in binary; empty for all
    binary: bool  # whether outputs are in binary that do not say


@dataclass(frozen=True)
class Reply:
    """An answer as it is sent."""

    body: bytes
    json_length: int | None  # bytes of the JSON, if binary tensors follow

    @property
    def headers(self) -> dict[str, str]:
        """Headers that describe the body."""
        if self.json_length is None:
            return {"Content-Type": "application/json"}
        return {"Content-Type": "application/octet-stream", LENGTH: str(self.json_length)}


def parse(body: bytes, json_length: int | None, limits: Limits) -> Request:
    """Read a request.

    Args:
        body: All of it.
        json_length: Bytes of its JSON part, from the header; None for all.
        limits: Limits of the service.

    Raises:
        RequestError: It is malformed, or beyond a limit.
    """
    if json_length is not None and json_length > len(body):
        raise invalid(f"{LENGTH} is {json_length}, but the body has {len(body)} bytes: make them agree")
    end = len(body) if json_length is None else json_length
    if end > limits.json:
        raise too_large(
            f"the JSON of a request must have {limits.json} bytes or fewer, got {end}: send tensors in binary"
        )
    document = _object("the body", _decoded(body[:end]))
    inputs = _objects("inputs", document.get("inputs"))
    if not inputs:
        raise invalid("inputs must hold a tensor or more: see the metadata of the model")
    tensors, rest = _read_inputs(inputs, memoryview(body)[end:])
    if rest:
        raise invalid(
            f"{rest} bytes follow the last tensor: make {LENGTH} and binary_data_size agree with the body"
        )
    parameters = dict(_object("parameters", document.get("parameters") or {}))
    binary = _flag("binary_data_output", parameters.pop("binary_data_output", False))
    name = document.get("id")
    if name is not None and not isinstance(name, str):
        raise invalid(f"id must be a string, got {shown(name)}")
    return Request(
        name,
        tensors,
        {key: value for key, value in parameters.items() if key not in _IGNORED},
        _read_outputs(_objects("outputs", document.get("outputs") or []), binary),
        binary,
    )


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(
            f"the body is no JSON in UTF-8 ({shown(str(error))}): see /docs for an example"
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON; drop or impute such rows")


def _read_inputs(
    inputs: Sequence[Mapping[str, Any]], content: memoryview
) -> tuple[dict[str, AnyFloats], int]:
    """Return the tensors of a request by name, and how many bytes of the binary part are left."""
    found: dict[str, AnyFloats] = {}
    for item in inputs:
        name = _name(item)
        if name in found:
            raise invalid(f"inputs hold {name} twice: send it once")
        shape, dtype = shape_of(name, item.get("shape")), dtype_of(name, item.get("datatype"))
        size = _object(f"parameters of {name}", item.get("parameters") or {}).get("binary_data_size")
        if size is None:
            found[name] = from_list(name, item.get("data"), shape, dtype)
            continue
        if type(size) is not int or not 0 <= size <= len(content):
            raise invalid(
                f"binary_data_size of {name} must be a whole number, {len(content)} at most (the bytes "
                f"that are left after the JSON), got {shown(size)}"
            )
        found[name] = from_bytes(name, content[:size], shape, dtype)
        content = content[size:]
    return found, len(content)


def _read_outputs(outputs: Sequence[Mapping[str, Any]], binary: bool) -> dict[str, bool]:
    return {
        (name := _name(item)): _flag(
            f"binary_data of {name}",
            _object(f"parameters of {name}", item.get("parameters") or {}).get("binary_data", binary),
        )
        for item in outputs
    }


def _objects(name: str, value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or len(value) > 16:
        raise invalid(f"{name} must be a list of 16 tensors or fewer, got {shown(value)}")
    return [_object(f"{name}[{index}]", item) for index, item in enumerate(value)]


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{name} must be a JSON object, got {shown(value)}")
    return value


def _name(item: Mapping[str, Any]) -> str:
    name = item.get("name")
    if not isinstance(name, str):
        raise invalid(f"the name of a tensor must be a string, got {shown(name)}")
    return name[:80]


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false, got {shown(value)}")
    return value


def compose(
    model: str,
    version: str,
    request: Request,
    outputs: Mapping[str, AnyFloats],
    warnings: Sequence[str],
) -> Reply:
    """Return the answer to a request.

    Args:
        model: Name of the model.
        version: Its version.
        request: The request.
        outputs: The tensors that it asks for, by name.
        warnings: Reasons to doubt them.

    Raises:
        RequestError: A tensor that is wanted in JSON holds a number that JSON cannot hold.
    """
    head: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        head["id"] = request.id
    if warnings:
        head["parameters"] = {"warnings": "\n".join(warnings)}
    described, parts = [], []
    for name, tensor in outputs.items():
        item: dict[str, Any] = {"name": name, "datatype": NAMES[tensor.dtype], "shape": list(tensor.shape)}
        if request.outputs.get(name, request.binary):
            parts.append(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
            item["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            item["data"] = to_list(name, tensor)
        described.append(item)
    content = json.dumps(head | {"outputs": described}, separators=(",", ":"), allow_nan=False).encode()
    return Reply(b"".join((content, *parts)), len(content) if parts else None)
