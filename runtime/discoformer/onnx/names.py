"""The graph files of a model: names of their inputs and outputs, in order; ``graphs`` gives the shapes."""

from typing import Any, Literal, NamedTuple, TypeAlias

from discoformer.base.base import BASE
from discoformer.errors import InputError

FRAMED = ("context", "log_weights", "precision_root", "log_det_precision", "effective_size")
"""Inputs of the mixture graph and of the encode graph: a context in its frame."""

WHOLE = ("all_points", "all_log_weights")
"""Further inputs of the mixture graph: all points of the sample. Those of the context are its landmarks."""

CONTEXT = (*FRAMED, *BASE)
"""Inputs of the encode graph: a context in its frame, and its base (see ``base.base``)."""

STATES = ("scalars", "vectors", "sample")
"""Outputs of the encode graph, which the query graph takes in."""

ANSWERS = ("log_density", "score")
"""Outputs of the query graph."""

MIXTURE = ("mixture_log_weights", "mixture_means", "mixture_scales", "mixture_freedom")
"""Outputs of the mixture graph."""

Effort: TypeAlias = Literal["fast", "best"]
"""How a sample is read: ``"fast"`` as a mixture, by one graph; ``"best"`` refines it, by two more."""


class Graph(NamedTuple):
    """A graph file."""

    file: str
    inputs: tuple[str, ...]  # those that it may have
    outputs: tuple[str, ...]  # those that it must have


GRAPHS: dict[Effort, tuple[Graph, ...]] = {
    "fast": (Graph("mixture.onnx", (*FRAMED, *WHOLE), MIXTURE),),
    "best": (
        Graph("encode.onnx", CONTEXT, STATES),
        Graph("query.onnx", (*CONTEXT, *STATES, "queries"), ANSWERS),
    ),
}
"""The graphs that each effort opens. ``"best"`` also needs those of ``"fast"``."""

RAW = Graph("discoformer.onnx", ("context", "queries", "log_weights"), (*ANSWERS, *MIXTURE))
"""The mixture graph together with the frame: raw data to answers and mixture, in data units."""


def check_effort(effort: Any) -> None:
    """Raise an error if there is no such effort.

    Raises:
        InputError: There is none.
    """
    if effort not in ("fast", "best"):
        raise InputError(
            f"effort must be 'fast' (a mixture, in one pass) or 'best' (the mixture, refined), got {effort!r}"
        )
