"""onnxruntime sessions: one per graph file, on the device asked for, with float32 kept float32.

onnxruntime falls back to the CPU without an exception when its CUDA provider cannot start, so the device is
read from the session after it is made.
"""

import contextlib
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import DeviceError, DeviceWarning, InputError, MissingExtraError, ModelError, require
from discoformer.onnx.parallel import both

Float32s: TypeAlias = npt.NDArray[np.float32]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_BUILDS = {f"onnxruntime{kind}" for kind in ("", "_gpu", "_directml", "_openvino", "_rocm", "_qnn")}
_GPU_HINT = (
    "install the GPU build alone: pip uninstall onnxruntime onnxruntime-gpu, "
    "then pip install 'discoformer[gpu]'; or pass device='cpu'"
)


def open_pair(
    files: Mapping[Path, bytes],
    device: Device = "auto",
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[Any, Any]:
    """Opens two graphs on one device, at once: each takes a while.

    Args:
        files: The two ``.onnx`` files, as read, by where they were read from.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where it can be had.
        threads: CPU threads for one operator; onnxruntime's own choice by default.
        options: Of onnxruntime's CUDA provider, such as ``{"device_id": "1"}``.

    Raises:
        DeviceError: CUDA was asked for and cannot be had.
        InputError: Another device name, or a number of threads below 1.
        ModelError: A file is no graph that onnxruntime can run.
        MissingExtraError: onnxruntime is not installed.

    Warns:
        DeviceWarning: CUDA is built in and could not be started, with the device ``"auto"``.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be 1 or more, or None for onnxruntime's choice, got {threads}")
    ort = require("onnxruntime")
    providers = _providers(ort, device, options or {})

    first, second = (partial(_start, ort, *file, providers, threads) for file in files.items())
    sessions = both(first, second)
    if len(providers) > 1 and any(device_of(session) == "cpu" for session in sessions):
        _report_fallback(device)
    return sessions


def device_of(session: Any) -> Literal["cpu", "cuda"]:
    """The device a session really runs on."""
    return "cuda" if _CUDA in session.get_providers() else "cpu"


def on_device(session: Any, arrays: Mapping[str, Float32s]) -> dict[str, Any]:
    """Puts the arrays that the session asks for onto its device; the others are left out."""
    value = require("onnxruntime").OrtValue
    names = {item.name for item in session.get_inputs()}
    device = device_of(session)
    return {
        name: value.ortvalue_from_numpy(np.ascontiguousarray(array, dtype=np.float32), device)
        for name, array in arrays.items()
        if name in names
    }


def run(session: Any, values: Mapping[str, Any]) -> dict[str, Float32s]:
    """Runs a graph on values made by ``on_device``; returns its outputs by name."""
    names = [item.name for item in session.get_outputs()]
    results = session.run_with_ort_values(names, dict(values))
    return {name: result.numpy() for name, result in zip(names, results, strict=True)}


def installed_builds() -> dict[str, str]:
    """The builds of onnxruntime that are installed, and their versions.

    They share one import name: where there are two, one has overwritten files of the other.
    """
    try:
        place = Path(require("onnxruntime").__file__).parents[1]
    except MissingExtraError:
        return {}
    found = (folder.stem.rpartition("-") for folder in place.glob("onnxruntime*.dist-info"))
    return {name.replace("_", "-"): version for name, _, version in sorted(found) if name in _BUILDS}


def two_builds() -> str:
    """What to do where two builds of onnxruntime are installed; empty where all is well."""
    builds = installed_builds()
    if len(builds) < 2:
        return ""
    return (
        f"{' and '.join(builds)} are both installed and overwrite each other: "
        f"pip uninstall {' '.join(builds)}, then install one of 'discoformer[cpu]' and 'discoformer[gpu]'"
    )


def _providers(ort: Any, device: Device, options: Mapping[str, str]) -> list[Any]:
    """What onnxruntime is to run graphs on, the best first."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    offered = ort.get_available_providers()
    if device == "cuda" and _CUDA not in offered:
        raise DeviceError(
            f"device='cuda' cannot be had: onnxruntime {ort.__version__} offers {', '.join(offered)} only; "
            + (two_builds() or _GPU_HINT)
        )
    if device == "cpu" or _CUDA not in offered:
        return [_CPU]
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it cannot find
        ort.preload_dlls()
    return [(_CUDA, {"use_tf32": "0", **options}), _CPU]


def _start(ort: Any, path: Path, content: bytes, providers: list[Any], threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Beyond this it looks long, and finds a few products to fuse that are no quicker.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise ModelError(f"{path} cannot be run by onnxruntime {ort.__version__}: {error}") from error
    session.disable_fallback()
    return session


def _report_fallback(device: Device) -> None:
    text = (
        "onnxruntime has CUDA built in but could not start it (its message is above): no GPU, or no driver?"
    )
    if device == "cuda":
        raise DeviceError(f"device='cuda' cannot be had: {text} Else {_GPU_HINT}")
    warnings.warn(
        f"{text} Running on the CPU; pass device='cpu' to silence this.", DeviceWarning, stacklevel=2
    )
