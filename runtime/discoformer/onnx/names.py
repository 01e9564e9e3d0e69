"""Names of the inputs and outputs of the graphs, in their order; ``graphs`` gives their shapes."""

from discoformer.base.base import BASE

FRAMED = ("context", "log_weights", "precision_root", "log_det_precision", "effective_size")
"""Inputs of the mixture graph: a context in its frame."""

CONTEXT = (*FRAMED, *BASE)
"""Inputs of the encode graph: a context in its frame, and its base."""

STATES = ("scalars", "vectors", "sample")
"""Outputs of the encode graph, which the query graph takes in."""

ANSWERS = ("log_density", "score")
"""Outputs of the query graph."""

MIXTURE = ("mixture_log_weights", "mixture_means", "mixture_scales", "mixture_freedom")
"""Outputs of the mixture graph."""
