"""Sessions of onnxruntime: one for each graph file, and runs of them.

Inputs and outputs are bound to the device of the session, so a tensor that is there is not copied.

The graphs of the released models are known. Those of others could make huge arrays of small inputs. So the
sessions of models that are neither released nor trusted have a bounded memory on the CPU. It follows from the
sizes of the inputs (``memory_for``), with room for several times what the released graphs take.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from discoformer.base.arrays import ArrayT, as_doubles, contiguous, library, wait_for
from discoformer.errors import InputError, ModelError
from discoformer.onnx.importing import import_onnxruntime
from discoformer.onnx.parallel import both
from discoformer.onnx.placement import Placement, check_offered, memory_of, not_started, runs_first, start

Float32s: TypeAlias = npt.NDArray[np.float32]

_LEAST_MEMORY = 2**25  # bytes, the smallest bound; each larger one is 4 times the one before
_QUERIES = 1024  # most queries of a run; the bound always has room for them
_PER_PAIR = 512  # bytes for a pair of points, or for a matrix entry of a point; released graphs take 100


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
        DeviceError: The preferred provider is not available.
        ModelError: A file is not a graph that onnxruntime can run.
        MissingExtraError: onnxruntime is not installed.
    """
    ort = import_onnxruntime()
    check_offered(ort, placement)
    bounded = memory is not None and _bound_memory(ort, memory)
    starts = [partial(start, ort, placement, *file, bounded) for file in files.items()]
    sessions = both(*starts) if len(starts) == 2 else (starts[0](),)
    if not all(runs_first(session, placement) for session in sessions):
        raise not_started(placement)
    return sessions


def on_device(session: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the arrays that are inputs of a session to its device; leave out all others.

    NumPy arrays are copied there. Tensors are on it, and are shared; nothing may change them before the run.
    """
    value = import_onnxruntime().OrtValue
    names, memory = {item.name for item in session.get_inputs()}, memory_of(session)
    return {
        name: value.ortvalue_from_numpy(contiguous(array), *memory)
        if isinstance(array, np.ndarray)
        else _shared(value, array)
        for name, array in arrays.items()
        if name in names
    }


def _shared(value: Any, tensor: Any) -> Any:
    """Return a tensor as a value of onnxruntime, which uses the same memory.

    onnxruntime has a stream of its own on a GPU, so it must not start before the tensor is computed.

    Raises:
        InputError: This version of onnxruntime cannot.
    """
    if not hasattr(value, "from_dlpack"):
        raise InputError(
            f"tensors need onnxruntime 1.26 or later, got {import_onnxruntime().__version__}: upgrade it, "
            "or pass NumPy arrays"
        )
    tensor = contiguous(tensor)
    wait_for(tensor)
    return value.from_dlpack(tensor)


def run(session: Any, values: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a graph on values returned by ``on_device``; return its outputs by name, on the same device.

    Args:
        session: Of the graph.
        values: Its inputs.
        names: Of the outputs that are wanted; by default all.

    Raises:
        ModelError: onnxruntime cannot run it.
    """
    try:
        binding, memory = session.io_binding(), memory_of(session)
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        names = names or [item.name for item in session.get_outputs()]
        for name in names:
            binding.bind_output(name, *memory)
        session.run_with_iobinding(binding)
        return dict(zip(names, binding.get_outputs(), strict=True))
    except Exception as error:  # the errors of onnxruntime have no base class of their own
        raise ModelError(
            f"a graph of the model failed ({error}): if memory is short, estimate with fewer landmarks, or "
            "pass trust=True to discoformer.load if you made the model; otherwise take the released one"
        ) from error


def shape_of(value: Any) -> npt.NDArray[Any]:
    """Return an array without memory that has the shape and the dtype of a value of onnxruntime."""
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}.get(value.data_type(), np.void)
    return np.broadcast_to(np.zeros((), dtype), value.shape())


def taken(value: Any, like: ArrayT) -> ArrayT:
    """Return a value of onnxruntime in float64, as an array of the library of another.

    onnxruntime may use its memory again as soon as this returns, so a copy on a device is waited for.
    """
    if isinstance(like, np.ndarray):
        return as_doubles(value.numpy())
    found: ArrayT = as_doubles(library(like).from_dlpack(value))
    wait_for(found)
    return found


def _bound_memory(ort: Any, memory: int) -> bool:
    """Bound the memory of the sessions that are opened next; return whether onnxruntime can."""
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": memory}))
    except Exception:  # older versions take one bound alone
        return False
    return True
