"""Check the installation, and advise what to do about each problem: ``discoformer doctor``."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from discoformer.errors import EXTRA_OF, INDEXED_AS, DiscoformerError
from discoformer.model import Model, load
from discoformer.onnx.graphs import has_files
from discoformer.onnx.importing import import_onnxruntime
from discoformer.onnx.names import GRAPHS, RAW, Effort
from discoformer.onnx.placement import Device, installed_builds, two_builds
from discoformer.onnx.profiles import nodes_by_provider

_CLOSE = 0.5  # largest median error (nats) on a Gaussian sample of a model that works


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    value: str
    advice: str = ""  # what to do; empty if there is no problem


def examine(path_or_name: str, device: Device) -> Iterator[Finding]:
    """Check the installation, load a model, and try it on a Gaussian sample.

    Args:
        path_or_name: The model, as in ``load``.
        device: The device to run it on, as in ``load``.

    Yields:
        The result of each check, as soon as it is known.
    """
    yield Finding("discoformer", version("discoformer"))
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} hardware threads")
    yield Finding("numpy", np.__version__)
    yield from _onnxruntime()
    yield Finding("extras", ", ".join(_extras()))
    try:
        model = load(path_or_name, device)
    except (DiscoformerError, OSError) as error:
        yield Finding("model", "cannot be loaded", str(error))
        return
    yield from _model(model)
    for effort in (effort for effort in GRAPHS if has_files(model.folder, effort)):
        yield _trial(model, effort)
    yield from _nodes(model)


def _onnxruntime() -> Iterator[Finding]:
    builds = ", ".join(f"{name} {number}" for name, number in installed_builds().items())
    try:
        providers = import_onnxruntime().get_available_providers()
    except DiscoformerError as error:
        yield Finding("onnxruntime", builds or "not installed", str(error))
        return
    yield Finding("onnxruntime", builds or "built from source", two_builds())
    yield Finding("providers", ", ".join(providers))


def _extras() -> Iterator[str]:
    """Yield each optional package: its version, or that it is not installed."""
    for package, extra in EXTRA_OF.items():
        name = INDEXED_AS.get(package, package)
        if name == "onnxruntime":
            continue
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"no {name} [{extra}]"


def _model(model: Model) -> Iterator[Finding]:
    about = model.metadata
    yield Finding("model", f"{about.name} {about.version} ({about.licence}) in {model.folder}")
    yield Finding("model files", f"SHA-256 {model.graphs.sha256}")
    yield Finding("weights", f"SHA-256 {about.weights_sha256}")
    yield Finding("trained", f"step {about.training_step}, commit {about.training_commit}")
    yield Finding("exported", f"{about.exporter}, opset {about.opset}")
    spans = (
        ("rows", about.trained_context),
        ("columns", about.trained_dim),
        ("Gaussian modes", about.trained_modes),
    )
    yield Finding("trained on", ", ".join(f"{low} to {high} {what}" for what, (low, high) in spans))
    yield Finding("device", model.device)


def _nodes(model: Model) -> Iterator[Finding]:
    """Count the nodes of each graph that execution providers run, on 50 points."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    with TemporaryDirectory() as folder:
        graphs = model.graphs.with_profiles(Path(folder))
        profiled = Model(graphs)
        profiled.estimate(x, effort=graphs.main_effort).log_density(x)
        if graphs.source.exists(RAW.file):
            profiled.log_density_and_score(x, x)
        for name, session in graphs.opened().items():
            counts = nodes_by_provider(session).most_common()
            ran = ", ".join(f"{count} on {provider}" for provider, count in counts)
            yield Finding("nodes", f"{name}: {ran}")


def _trial(model: Model, effort: Effort) -> Finding:
    """Compare an estimate from 400 points of a Gaussian with the true log-density."""
    x = np.random.default_rng(0).normal(size=(400, 2))
    start = time.perf_counter()
    got = model.estimate(x, effort=effort).log_density(x[:50])
    error = np.abs(got + np.log(2 * np.pi) + 0.5 * np.square(x[:50]).sum(1))
    seconds = time.perf_counter() - start
    typical = float(np.median(error))
    return Finding(
        f"trial, {effort}",
        f"400 points of a Gaussian read, 50 queried, in {seconds:.2f} s; median error {typical:.2f} nats",
        ""
        if typical < _CLOSE
        else "the model gives wrong answers here: reinstall discoformer and onnxruntime",
    )
