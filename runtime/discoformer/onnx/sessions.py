"""Sessions of onnxruntime: one for each graph file, on the requested device, without TF32.

If its CUDA provider cannot start, onnxruntime uses the CPU and raises no exception. Therefore a trial session
is opened, and the device is read from it. So the device of a model is known before its graphs are opened.

The graphs of the released models are known. Those of others could make huge arrays of small inputs. So the
sessions of models that are neither released nor trusted have a bounded memory on the CPU. It follows from the
sizes of the inputs (``memory_for``), with room for several times what the released graphs take.
"""

import contextlib
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.errors import (
    DeviceError,
    DeviceWarning,
    InputError,
    MissingExtraError,
    ModelError,
    require,
    warn_caller,
)
from discoformer.onnx.parallel import both

Float32s: TypeAlias = npt.NDArray[np.float32]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]

_LEAST_MEMORY = 2**25  # bytes, the smallest bound; each larger one is 4 times the one before
_QUERIES = 1024  # most queries of a run; the bound always has room for them
_PER_PAIR = 512  # bytes for a pair of points, or for a matrix entry of a point; released graphs take 100

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_TRIAL = (  # an ONNX file with one operator, Identity
    b'\x08\x08\x12\x00:/\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0b\n\x01x\x12\x06\n\x04\x08\x01\x12\x00b'
    b"\x0b\n\x01y\x12\x06\n\x04\x08\x01\x12\x00B\x04\n\x00\x10\x12"
)
_BUILDS = {f"onnxruntime{kind}" for kind in ("", "_gpu", "_directml", "_openvino", "_rocm", "_qnn")}
_GPU_HINT = (
    "install the GPU build alone: pip uninstall onnxruntime onnxruntime-gpu, "
    "then pip install 'onnxruntime-gpu[cuda,cudnn]'; or pass device='cpu'"
)


class Placement(NamedTuple):
    """Where sessions run."""

    device: Literal["cpu", "cuda"]
    threads: int | None  # CPU threads for one operator; chosen by onnxruntime if None
    options: Mapping[str, str]  # options of onnxruntime's CUDA provider, such as {"device_id": "1"}


def find_placement(
    device: Device = "auto", threads: int | None = None, options: Mapping[str, str] | None = None
) -> Placement:
    """Find out where sessions can run.

    Args:
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA if it is available, else the CPU.
        threads: See ``Placement``.
        options: See ``Placement``.

    Raises:
        DeviceError: ``device`` is ``"cuda"``, and CUDA is not available.
        InputError: ``device`` is unknown, or ``threads`` is below 1.
        MissingExtraError: onnxruntime is not installed.

    Warns:
        DeviceWarning: ``device`` is ``"auto"``, and this build of onnxruntime has CUDA but cannot start it.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be 1 or more, or None to let onnxruntime choose, got {threads}")
    ort = require("onnxruntime")
    placement = Placement(_first_choice(ort, device), threads, dict(options or {}))
    if placement.device == "cuda":
        trial = _start(ort, placement, _providers(ort, placement), Path("a trial graph"), _TRIAL)
        if device_of(trial) == "cpu":
            _report_fallback(device)
            return placement._replace(device="cpu")
    return placement


def memory_for(sizes: Mapping[str, int]) -> int:
    """Return the bound in bytes on the memory of a run on inputs of these sizes; see ``shapes.SHAPES``."""
    points = _QUERIES + sum(sizes.get(letter, 0) for letter in "NAK")
    needed = _LEAST_MEMORY // 2 + _PER_PAIR * sizes["B"] * points * (sizes["N"] + sizes["D"] ** 2)
    bound = _LEAST_MEMORY
    while bound < needed:
        bound *= 4
    return bound


def open_sessions(
    files: Mapping[Path, bytes], placement: Placement, memory: int | None = None
) -> tuple[Any, ...]:
    """Open one or two graphs, in parallel because each takes a while.

    Args:
        files: Contents of the ``.onnx`` files, by path.
        placement: Where they run.
        memory: Bound in bytes on what each takes on the CPU, or None.

    Raises:
        DeviceError: They should run on CUDA, and it is not available.
        ModelError: A file is not a graph that onnxruntime can run.
        MissingExtraError: onnxruntime is not installed.
    """
    ort = require("onnxruntime")
    if placement.device == "cuda":
        _first_choice(ort, "cuda")  # raises if CUDA is not offered
    providers = _providers(ort, placement)
    bounded = memory is not None and _bound_memory(ort, memory)
    starts = [partial(_start, ort, placement, providers, *file, bounded) for file in files.items()]
    sessions = both(*starts) if len(starts) == 2 else (starts[0](),)
    if any(device_of(session) != placement.device for session in sessions):
        _report_fallback("cuda")
    return sessions


def device_of(session: Any) -> Literal["cpu", "cuda"]:
    """Return the device that a session runs on."""
    return "cuda" if _CUDA in session.get_providers() else "cpu"


def on_device(session: Any, arrays: Mapping[str, Float32s]) -> dict[str, Any]:
    """Copy the arrays that are inputs of a session to its device; leave out all others."""
    value = require("onnxruntime").OrtValue
    names = {item.name for item in session.get_inputs()}
    device = device_of(session)
    return {
        name: value.ortvalue_from_numpy(np.ascontiguousarray(array, dtype=np.float32), device)
        for name, array in arrays.items()
        if name in names
    }


def run(session: Any, values: Mapping[str, Any]) -> dict[str, Float32s]:
    """Run a graph on values returned by ``on_device``; return its outputs by name.

    Raises:
        ModelError: onnxruntime cannot run it.
    """
    names = [item.name for item in session.get_outputs()]
    try:
        results = session.run_with_ort_values(names, dict(values))
        return {name: result.numpy() for name, result in zip(names, results, strict=True)}
    except Exception as error:  # the errors of onnxruntime have no base class of their own
        raise ModelError(
            f"a graph of the model failed ({error}): if memory is short, estimate with fewer landmarks, or "
            "pass trust=True to discoformer.load if you made the model; otherwise take the released one"
        ) from error


def installed_builds() -> dict[str, str]:
    """Return the installed builds of onnxruntime and their versions.

    All builds have the same import name. If two are installed, one has overwritten files of the other.
    """
    try:
        place = Path(require("onnxruntime").__file__).parents[1]
    except MissingExtraError:
        return {}
    found = (folder.stem.rpartition("-") for folder in place.glob("onnxruntime*.dist-info"))
    return {name.replace("_", "-"): version for name, _, version in sorted(found) if name in _BUILDS}


def two_builds() -> str:
    """Return what to do if two builds of onnxruntime are installed; empty if there is at most one."""
    builds = installed_builds()
    if len(builds) < 2:
        return ""
    return (
        f"{' and '.join(builds)} are both installed and overwrite each other: "
        f"pip uninstall {' '.join(builds)}, then install one of onnxruntime and 'onnxruntime-gpu[cuda,cudnn]'"
    )


def _first_choice(ort: Any, device: Device) -> Literal["cpu", "cuda"]:
    """Return the device to try first.

    Raises:
        DeviceError: ``device`` is ``"cuda"``, and onnxruntime has no CUDA.
        InputError: ``device`` is unknown.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    offered = ort.get_available_providers()
    if device == "cuda" and _CUDA not in offered:
        raise DeviceError(
            f"device='cuda' is not available: onnxruntime {ort.__version__} offers {', '.join(offered)} "
            f"only; {two_builds() or _GPU_HINT}"
        )
    return "cpu" if device == "cpu" or _CUDA not in offered else "cuda"


def _providers(ort: Any, placement: Placement) -> list[Any]:
    """Return the execution providers, the preferred one first."""
    if placement.device == "cpu":
        return [_CPU]
    with contextlib.redirect_stdout(sys.stderr):  # preload_dlls prints the libraries that it cannot find
        ort.preload_dlls()
    return [(_CUDA, {"use_tf32": "0", **placement.options}), _CPU]


def _bound_memory(ort: Any, memory: int) -> bool:
    """Bound the memory of the sessions that are opened next; return whether onnxruntime can."""
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": memory}))
    except Exception:  # older versions take one bound alone
        return False
    return True


def _start(
    ort: Any, placement: Placement, providers: list[Any], path: Path, content: bytes, bounded: bool = False
) -> Any:
    """Open one graph; if it is bounded, without computing constants of it before it runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if bounded:
        options.log_severity_level = 4  # errors are raised
        options.add_session_config_entry("session.use_env_allocators", "1")
    # Higher levels take long to optimise the graph, and fuse a few products without a gain in speed.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if placement.threads is not None:
        options.intra_op_num_threads = placement.threads
    try:
        further = {"disabled_optimizers": ["ConstantFolding"]} if bounded else {}
        session = ort.InferenceSession(content, options, providers=providers, **further)
    except Exception as error:  # the errors of onnxruntime have no base class of their own
        raise ModelError(
            f"{path} cannot be run by onnxruntime {ort.__version__} ({error}): upgrade onnxruntime, or take "
            "the model from its source again"
        ) from error
    session.disable_fallback()
    return session


def _report_fallback(device: Device) -> None:
    """Raise an error or warn, by the device asked for, that CUDA could not be started."""
    text = (
        "onnxruntime has CUDA built in but could not start it (its message is above). Check that the machine "
        "has a GPU and a driver."
    )
    if device == "cuda":
        raise DeviceError(f"device='cuda' is not available: {text} If it has, {_GPU_HINT}")
    warn_caller(f"{text} Running on the CPU; pass device='cpu' to silence this warning.", DeviceWarning)
