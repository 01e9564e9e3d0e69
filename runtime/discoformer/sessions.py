"""onnxruntime sessions: one per graph file, on the device asked for, with float32 kept float32.

onnxruntime falls back to the CPU without an exception when its CUDA provider cannot start, so the device is
read from the session after it is made.
"""

import contextlib
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import DeviceError, DeviceWarning, InputError, ModelError, require

Float32s: TypeAlias = npt.NDArray[np.float32]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_GPU_HINT = (
    "install the GPU build alone: pip uninstall onnxruntime onnxruntime-gpu, "
    "then pip install 'discoformer[gpu]'; or pass device='cpu'"
)


def open_session(
    content: bytes,
    path: Path,
    device: Device = "auto",
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
) -> Any:
    """Opens a graph.

    Args:
        content: The ``.onnx`` file, as read.
        path: Where it was read from, for error messages.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where it can be had.
        threads: CPU threads for one operator; onnxruntime's own choice by default.
        options: Of onnxruntime's CUDA provider, such as ``{"device_id": "1"}``.

    Raises:
        DeviceError: CUDA was asked for and cannot be had.
        InputError: Another device name, or a number of threads below 1.
        ModelError: The file is no graph that onnxruntime can run.
        MissingExtraError: onnxruntime is not installed.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be 1 or more, or None for onnxruntime's choice, got {threads}")
    ort = require("onnxruntime")
    offered = ort.get_available_providers()
    if device == "cuda" and _CUDA not in offered:
        raise DeviceError(
            f"device='cuda' cannot be had: onnxruntime {ort.__version__} offers {', '.join(offered)} only; "
            + (two_builds() or _GPU_HINT)
        )
    wants_cuda = device != "cpu" and _CUDA in offered
    session = _start(ort, content, path, wants_cuda, threads, options or {})
    if wants_cuda and device_of(session) != "cuda":
        _report_fallback(device)
    return session


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
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def two_builds() -> str:
    """What to do where two builds of onnxruntime are installed; empty where all is well."""
    builds = installed_builds()
    if len(builds) < 2:
        return ""
    return (
        f"{' and '.join(builds)} are both installed and overwrite each other: "
        f"pip uninstall {' '.join(builds)}, then install one of 'discoformer[cpu]' and 'discoformer[gpu]'"
    )


def _start(
    ort: Any, content: bytes, path: Path, wants_cuda: bool, threads: int | None, options: Mapping[str, str]
) -> Any:
    session_options = ort.SessionOptions()
    session_options.log_severity_level = 3
    if threads is not None:
        session_options.intra_op_num_threads = threads
    providers: list[Any] = [_CPU]
    if wants_cuda:
        providers.insert(0, (_CUDA, {"use_tf32": "0", **options}))
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it cannot find
            ort.preload_dlls()
    try:
        session = ort.InferenceSession(content, session_options, providers=providers)
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
