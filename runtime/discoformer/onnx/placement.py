"""Where sessions of onnxruntime run: its execution providers, and the device of their memory.

If its CUDA provider cannot start, onnxruntime uses the CPU and raises no exception. Therefore a trial session
is opened, and the device is read from it. So the device of a model is known before its graphs are opened.
Products of float32 are not rounded to TF32.
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from discoformer.errors import (
    DeviceError,
    DeviceWarning,
    InputError,
    MissingExtraError,
    ModelError,
    warn_caller,
)
from discoformer.onnx.importing import import_onnxruntime

Device: TypeAlias = str
"""``"auto"``, ``"cpu"``, ``"cuda"``, or one of several GPUs by number, ``"cuda:1"``."""

Provider: TypeAlias = str | tuple[str, Mapping[str, Any]]
"""An execution provider of onnxruntime: its name, or its name and options."""

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
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

    device: Device  # where inputs and outputs are: "cpu", "cuda" for the first GPU, or "cuda:1"
    threads: int | None  # CPU threads for one operator; chosen by onnxruntime if None
    providers: tuple[Provider, ...]  # the preferred one first
    profiles: Path | None = None  # folder into which profiles are written, see ``profiles``


def find_placement(
    device: Device = "auto",
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
    providers: Sequence[Provider] | None = None,
) -> Placement:
    """Find out where sessions can run.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, or ``"auto"``: CUDA if it is available, else the CPU.
        threads: See ``Placement``.
        options: Options of onnxruntime's CUDA provider.
        providers: See ``Placement``; by default those of ``device``.

    Raises:
        DeviceError: ``device`` or the first provider is not available.
        InputError: ``device`` is unknown, ``threads`` is below 1, or ``providers`` are given with a device.
        MissingExtraError: onnxruntime is not installed.

    Warns:
        DeviceWarning: ``device`` is ``"auto"``, and this build of onnxruntime has CUDA but cannot start it.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be 1 or more, or None to let onnxruntime choose, got {threads}")
    ort = import_onnxruntime()
    if providers is not None:
        if device != "auto" or options or not providers:
            raise InputError(
                "providers must be one execution provider or more, without device and provider_options, got "
                f"{list(providers)} with device={device!r}: give options as (name, options)"
            )
        placement = Placement("cpu", threads, tuple(providers))
        check_offered(ort, placement)
    else:
        placement = Placement("cpu", threads, _providers_of(ort, device, options or {}))
        if placement.providers == (CPU,):
            return placement
    trial = start(ort, placement, Path("a trial graph"), _TRIAL)
    if not runs_first(trial, placement):
        if providers is not None or device != "auto":
            raise not_started(placement)
        warn_caller(f"{not_started(placement)} Running on the CPU.", DeviceWarning)
        return Placement("cpu", threads, (CPU,))
    return placement._replace(device=name_of(*memory_of(trial)))


def start(ort: Any, placement: Placement, path: Path, content: bytes, bounded: bool = False) -> Any:
    """Open one graph; if it is bounded, without computing constants of it before it runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if bounded:
        options.log_severity_level = 4  # errors are raised
        options.add_session_config_entry("session.use_env_allocators", "1")
    if placement.profiles:
        options.enable_profiling = True
        options.profile_file_prefix = str(placement.profiles / path.stem)
    # Higher levels take long to optimise the graph, and fuse a few products without a gain in speed.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if placement.threads is not None:
        options.intra_op_num_threads = placement.threads
    if CUDA in map(name_of_provider, placement.providers):
        with contextlib.redirect_stdout(sys.stderr):  # preload_dlls prints the libraries that it cannot find
            ort.preload_dlls()
    try:
        further = {"disabled_optimizers": ["ConstantFolding"]} if bounded else {}
        session = ort.InferenceSession(content, options, providers=list(placement.providers), **further)
    except Exception as error:  # the errors of onnxruntime have no base class of their own
        raise ModelError(
            f"{path} cannot be run by onnxruntime {ort.__version__} ({error}): upgrade onnxruntime, or take "
            "the model from its source again"
        ) from error
    session.disable_fallback()
    return session


def name_of_provider(provider: Provider) -> str:
    """Return the name of an execution provider."""
    return provider if isinstance(provider, str) else provider[0]


def runs_first(session: Any, placement: Placement) -> bool:
    """Return whether a session runs on the preferred provider."""
    return bool(session.get_providers()[0] == name_of_provider(placement.providers[0]))


def memory_of(session: Any) -> tuple[str, int]:
    """Return the kind and the number of the device on which a session has its inputs and outputs."""
    options = session.get_provider_options().get(CUDA)
    return ("cpu", 0) if options is None else ("cuda", int(options.get("device_id", 0)))


def name_of(kind: str, number: int) -> Device:
    """Return the name of a device."""
    return f"{kind}:{number}" if number else kind


def check_offered(ort: Any, placement: Placement) -> None:
    """Check that this build of onnxruntime has the preferred provider.

    Raises:
        DeviceError: It has not.
    """
    first, offered = name_of_provider(placement.providers[0]), ort.get_available_providers()
    if first in offered:
        return
    raise DeviceError(
        f"{_asked(first)} is not available: onnxruntime {ort.__version__} offers {', '.join(offered)} only; "
        + (two_builds() or (_GPU_HINT if first == CUDA else f"install a build that has {first}"))
    )


def not_started(placement: Placement) -> DeviceError:
    """Return the error that the preferred provider cannot start."""
    first = name_of_provider(placement.providers[0])
    advice = (
        f"Check that the machine has a GPU and a driver. If it has, {_GPU_HINT}."
        if first == CUDA
        else ("Check its options, and what it needs.")
    )
    return DeviceError(
        f"{_asked(first)} is not available: onnxruntime has it built in but could not start it (its message "
        f"is above). {advice}"
    )


def installed_builds() -> dict[str, str]:
    """Return the installed builds of onnxruntime and their versions.

    All builds have the same import name. If two are installed, one has overwritten files of the other.
    """
    try:
        place = Path(import_onnxruntime().__file__).parents[1]
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


def _providers_of(ort: Any, device: Device, options: Mapping[str, str]) -> tuple[Provider, ...]:
    """Return the providers of a device, the preferred one first.

    Raises:
        DeviceError: It is a GPU, and onnxruntime has no CUDA.
        InputError: It is unknown.
    """
    kind, colon, number = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"device must be 'auto', 'cpu', 'cuda' or such as 'cuda:1', got {device!r}")
    chosen = {"device_id": number} if number else {}
    found: tuple[Provider, ...] = (CUDA, {"use_tf32": "0", **chosen, **options}), CPU
    if kind == "cpu" or (kind == "auto" and CUDA not in ort.get_available_providers()):
        return (CPU,)
    check_offered(ort, Placement("cuda", None, found))
    return found


def _asked(provider: str) -> str:
    return "device='cuda'" if provider == CUDA else f"the provider {provider}"
