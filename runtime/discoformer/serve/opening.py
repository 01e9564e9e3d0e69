"""From the arguments of ``discoformer serve`` to what is served."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from discoformer.errors import InputError
from discoformer.groups import is_groups_file, load_groups
from discoformer.io.inputs import shown
from discoformer.model import Model, load, load_estimate
from discoformer.onnx.placement import Device
from discoformer.serve.served import Served, ServedEstimate, ServedGroups, ServedModel

_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")


def open_all(targets: Sequence[str], model: str, device: Device) -> dict[str, Served]:
    """Open models, saved estimates and saved groups, each with one thread.

    Args:
        targets: Names or folders of models, and files of saved estimates or groups. ``NAME=TARGET`` gives a
            name.
        model: Name or folder of the model that made the estimates.
        device: Device of the networks.

    Returns:
        What is served, by name.

    Raises:
        InputError: A file is no saved estimate, or a name is not possible or is there twice.
        ModelError: A model cannot be used, or did not make an estimate.
        OSError: A file cannot be read.
    """
    loaded: dict[str, Model] = {}

    def opened(name: str) -> Model:
        if name not in loaded:
            loaded[name] = load(name, device, 1)
        return loaded[name]

    served: dict[str, Served] = {}
    for target in targets:
        name, place = _split(target)
        if name in served:
            raise InputError(f"{target} has the name {name}, which is taken: give another name, NAME={place}")
        path = Path(place)
        if path.is_file() and is_groups_file(path):
            found: Served = ServedGroups(name, load_groups(path, opened(model)))
        elif path.is_file():
            found = ServedEstimate(name, load_estimate(place, opened(model)))
        else:
            found = ServedModel(name, opened(place))
        served[name] = found
    return served


def warm_up(served: Served) -> None:
    """Answer once, so that the first request does not wait for graphs to be opened."""
    if isinstance(served, ServedEstimate):
        estimate = served.estimate
        estimate.log_density_and_score(estimate.landmarks.points[:1])
    elif isinstance(served, ServedGroups):
        served.groups.model.graphs.open(served.groups.effort)
    elif isinstance(served, ServedModel):
        points = np.random.default_rng(0).normal(size=(20, 2))
        served.model.estimate(points, effort=served.model.graphs.main_effort).log_density(points[:1])


def _split(target: str) -> tuple[str, str]:
    """Return the name of a target in URLs, and its place."""
    given, equals, place = target.partition("=")
    if not equals or not _NAME.fullmatch(given):
        path = Path(target)
        given, place = path.stem if path.is_file() else path.name, target
    if not _NAME.fullmatch(given):
        raise InputError(
            f"{shown(target)} has no name that fits into a URL (letters, digits, . _ -): give it one, "
            f"NAME={target}"
        )
    return given, place
