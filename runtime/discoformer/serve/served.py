"""What is served: a model that reads samples, or a saved estimate or saved groups that answer queries.

All have a name and a version, say which tensors they take and give, and answer.

Shapes: B samples, N points of each, M queries, D columns.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from discoformer.base.mixture import ABSENT
from discoformer.errors import InputError
from discoformer.estimates import Estimate
from discoformer.groups import SavedGroups
from discoformer.io.inputs import AnyFloats, Floats, shown
from discoformer.model import Model
from discoformer.onnx.names import ANSWERS, check_effort
from discoformer.serve.jobs import Job
from discoformer.serve.limits import Limits
from discoformer.serve.messages import Request
from discoformer.serve.refusals import invalid
from discoformer.serve.tensors import Spec, check_tensor

PIECE = 1024  # queries that are answered between two looks at the time; the package takes as many at once
SAMPLES = 16  # samples that are read between two looks at the time
_MOST_WARNINGS = 20  # that an answer holds

Tensors = Mapping[str, AnyFloats]


@dataclass(frozen=True)
class Answer:
    """The answer of a served model."""

    outputs: Tensors
    warnings: Sequence[str] = ()


class Served(Protocol):
    """A model as the protocol sees it."""

    @property
    def name(self) -> str:
        """Its name in URLs."""

    @property
    def version(self) -> str:
        """Its version in URLs."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What its metadata say beside its tensors."""

    @property
    def inputs(self) -> Sequence[Spec]:
        """The tensors it takes."""

    @property
    def outputs(self) -> Sequence[Spec]:
        """The tensors it gives."""

    @property
    def parameters(self) -> Collection[str]:
        """The parameters that its requests may have."""

    def example(self) -> tuple[Tensors, Mapping[str, Any]]:
        """Return tensors and parameters of a request that is answered; they hold no row of a sample."""

    def answer(self, request: Request, job: Job) -> Answer:
        """Answer a request whose tensors are those of ``inputs``.

        Raises:
            InputError: It cannot be answered.
        """


def check_request(served: Served, request: Request, limits: Limits) -> None:
    """Check that a request has the tensors that a model takes, and asks for those that it gives.

    Raises:
        RequestError: It does not.
    """
    wanted = {spec.name: spec for spec in served.inputs}
    for name in request.tensors:
        if name not in wanted:
            raise invalid(f"{served.name} takes {' and '.join(wanted)}, got {shown(name)}")
    for name, spec in wanted.items():
        if name in request.tensors:
            check_tensor(spec, request.tensors[name], limits)
        elif not spec.is_optional:
            raise invalid(
                f"{served.name} needs the input {name} of shape {list(spec.shape)}: add it to inputs"
            )
    for name in request.parameters:
        if name not in served.parameters:
            allowed = (
                f"only the parameters {', '.join(served.parameters)}"
                if served.parameters
                else "no parameters"
            )
            raise invalid(f"{served.name} takes {allowed}, got {shown(name)}")
    given = [spec.name for spec in served.outputs]
    for name in request.outputs:
        if name not in given:
            raise invalid(f"{served.name} gives {' and '.join(given)}, got {shown(name)} in outputs")


class ServedEstimate:
    """A saved estimate: queries in, log-density and score out."""

    parameters: Collection[str] = ()

    def __init__(self, name: str, estimate: Estimate) -> None:
        self.name = name
        self.version = "1"
        self.estimate = estimate
        dim = estimate.diagnostics.dim
        self.inputs = (Spec("queries", (-1, dim)),)
        self.outputs = (Spec("log_density", (-1,), has_columns=False), Spec("score", (-1, dim)))

    @property
    def about(self) -> Mapping[str, Any]:
        """Columns of the queries, how the sample was read, and reasons to doubt the estimate."""
        diagnostics = self.estimate.diagnostics
        return {
            "columns": list(self.estimate.columns or ()),
            "effort": diagnostics.effort,
            "rows": diagnostics.n,
            "warnings": list(diagnostics.warnings),
        }

    def example(self) -> tuple[Tensors, Mapping[str, Any]]:
        """Ask at the mean of the sample; see ``Served``."""
        return {"queries": self.estimate.frame.center[None]}, {}

    def answer(self, request: Request, job: Job) -> Answer:
        """Answer queries; see ``Served``."""
        return Answer(named(answers_at(self.estimate, request.tensors["queries"], job)))


class ServedGroups:
    """Saved groups: the queries of one group, which a parameter names, in; log-density and score out."""

    parameters: Collection[str] = ("group",)

    def __init__(self, name: str, groups: SavedGroups) -> None:
        self.name = name
        self.version = "1"
        self.groups = groups
        self.inputs = (Spec("queries", (-1, len(groups.columns))),)
        self.outputs = (
            Spec("log_density", (-1,), has_columns=False),
            Spec("score", (-1, len(groups.columns))),
        )

    @property
    def about(self) -> Mapping[str, Any]:
        """Columns of the queries and of the keys, and how many groups there are."""
        return {
            "columns": list(self.groups.columns),
            "by": list(self.groups.by),
            "effort": self.groups.effort,
            "groups": len(self.groups),
            "request_parameters": {
                "group": "the key of a group; a list, if there are several columns of keys"
            },
        }

    def example(self) -> tuple[Tensors, Mapping[str, Any]]:
        """Ask at the mean of the first group; see ``Served``."""
        key = next(iter(self.groups), None)
        center = np.zeros(len(self.groups.columns)) if key is None else self.groups[key].frame.center
        return {"queries": center[None]}, {"group": list(key) if isinstance(key, tuple) else key}

    def answer(self, request: Request, job: Job) -> Answer:
        """Answer queries of one group; see ``Served``."""
        if "group" not in request.parameters:
            raise invalid(
                f"{self.name} needs the parameter group, a value of {', '.join(self.groups.by)}: add it to "
                "parameters"
            )
        key = request.parameters["group"]
        try:
            estimate = self.groups[tuple(key) if isinstance(key, list) else key]
        except InputError as error:
            raise invalid(str(error).partition("; list(groups)")[0]) from error
        found = answers_at(estimate, request.tensors["queries"], job)
        return Answer(named(found), estimate.diagnostics.warnings)


class ServedModel:
    """A model: samples and queries in, log-density and score out, as ``Model.estimate_batch`` finds them."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.version = re.sub(r"[^A-Za-z0-9._-]", "_", model.metadata.version) or "1"
        self.model = model
        self.inputs = (
            Spec("context", (-1, -1, -1), is_sample=True),
            Spec("queries", (-1, -1, -1)),
            Spec("log_weights", (-1, -1), is_optional=True, has_columns=False),
        )
        self.outputs = (Spec("log_density", (-1, -1), has_columns=False), Spec("score", (-1, -1, -1)))
        self.parameters: Collection[str] = tuple(_OPTIONS)

    @property
    def about(self) -> Mapping[str, Any]:
        """Ranges it was trained on, and the parameters of a request."""
        metadata = self.model.metadata
        return {
            "trained_rows": list(metadata.trained_context),
            "trained_columns": list(metadata.trained_dim),
            "request_parameters": {
                "effort": "best (default) or fast",
                "rounding": "auto (default) or none",
                "allow_singular": "true or false (default)",
            },
        }

    def example(self) -> tuple[Tensors, Mapping[str, Any]]:
        """Read nine points and ask at one; see ``Served``."""
        context = np.array([1.0, 2.0, 2.5, 3.1, 3.6, 4.2, 5.0, 6.3, 8.0])[None, :, None]
        return {"context": context, "queries": np.array([[[3.0]]])}, {"effort": "fast"}

    def answer(self, request: Request, job: Job) -> Answer:
        """Read samples and answer queries; see ``Served``."""
        options = {name: _OPTIONS[name](value) for name, value in request.parameters.items()}
        context, queries = request.tensors["context"], request.tensors["queries"]
        weights = _weights(request.tensors.get("log_weights"), context)
        if queries.shape[::2] != context.shape[::2]:
            raise invalid(
                f"queries must have the {context.shape[0]} samples and {context.shape[2]} columns of context "
                f"{list(context.shape)}, got shape {list(queries.shape)}"
            )
        found: list[tuple[AnyFloats, AnyFloats]] = []
        warnings: list[str] = []
        for first in range(0, len(context), SAMPLES):
            job.check()
            part = slice(first, first + SAMPLES)
            for estimate in self._read(first, context[part], weights[part], options):
                warnings += (f"context[{len(found)}] (X): {text}" for text in estimate.diagnostics.warnings)
                found.append(answers_at(estimate, queries[len(found)], job))
        if not found:
            raise invalid(f"context must hold a sample or more, got shape {list(context.shape)}")
        both = map(np.stack, zip(*found, strict=True))
        return Answer(named(tuple(both)), warnings[:_MOST_WARNINGS])

    def _read(
        self, first: int, context: AnyFloats, weights: Sequence[Floats | None], options: Mapping[str, Any]
    ) -> Sequence[Estimate]:
        """Estimate from samples (B, N, D), of which the first has a number in the request."""
        try:
            return self.model.estimate_batch(list(context), list(weights), **options)
        except InputError as error:
            text = re.sub(
                r"^contexts\[(\d+)\]", lambda found: f"context[{first + int(found[1])}] (X)", str(error)
            )
            raise invalid(text) from error


def answers_at(estimate: Estimate, queries: AnyFloats, job: Job) -> tuple[AnyFloats, AnyFloats]:
    """Return log-density (M,) and score (M, D) at queries (M, D), piece by piece.

    Raises:
        RequestError: The time of the job is over.
    """
    log_density, score = np.empty(len(queries), queries.dtype), np.empty_like(queries)
    for first in range(0, len(queries), PIECE):
        job.check()
        part = slice(first, first + PIECE)
        log_density[part], score[part] = estimate.log_density_and_score(queries[part])
    return log_density, score


def named(answers: Sequence[AnyFloats]) -> Tensors:
    """Return log-density and score by their names as outputs."""
    return dict(zip(ANSWERS, answers, strict=True))


def _weights(log_weights: AnyFloats | None, context: AnyFloats) -> Sequence[Floats | None]:
    """Return the weights (N,) of each sample (B, N, D), or None where all rows count alike."""
    if log_weights is None:
        return [None] * len(context)
    if log_weights.shape != context.shape[:2]:
        raise invalid(
            f"log_weights must have the shape {list(context.shape[:2])} of context without its columns, got "
            f"{list(log_weights.shape)}"
        )
    logs = log_weights.astype(np.float64)
    greatest = logs.max(1, initial=ABSENT, keepdims=True)
    if (greatest <= ABSENT).any():
        raise invalid(
            f"log_weights must be above {ABSENT:g}, which means an absent row, for a row or more of each "
            f"sample, got none in sample {int(np.argmin(greatest))}"
        )
    return list(np.exp(logs - greatest))


def _effort(value: Any) -> Any:
    check_effort(value if isinstance(value, str) else shown(value))
    return value


def _rounding(value: Any) -> Any:
    if value not in ("auto", "none"):
        raise invalid(f'rounding must be "auto" or "none", got {shown(value)}')
    return None if value == "none" else value


def _singular(value: Any) -> Any:
    if not isinstance(value, bool):
        raise invalid(f"allow_singular must be true or false, got {shown(value)}")
    return value


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "effort": _effort,
    "rounding": _rounding,
    "allow_singular": _singular,
}
