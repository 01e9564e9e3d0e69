"""Tensors: arrays of PyTorch, CuPy and JAX, which may be on a device.

None of these libraries is imported here. The protocol DLPack says where a tensor is.
NumPy arrays and data frames are none; neither are other arrays that have ``__dlpack__``.
"""

from typing import Any

from discoformer.errors import InputError

_LIBRARIES = ("torch", "cupy", "jaxlib")
_KINDS = {1: "cpu", 2: "cuda"}  # by DLPack's number of a device


def is_tensor(data: Any) -> bool:
    """Return whether data are a tensor."""
    return type(data).__module__.partition(".")[0] in _LIBRARIES and hasattr(data, "__dlpack__")


def device_of(tensor: Any) -> str:
    """Return the name of the device of a tensor, such as "cpu", "cuda" or "cuda:1"."""
    kind, number = tensor.__dlpack_device__()
    name = _KINDS.get(int(kind), f"a device of DLPack's kind {int(kind)}")
    return f"{name}:{number}" if number else name


def check_device(name: str, tensor: Any, device: str) -> None:
    """Check that a tensor is on a device.

    Raises:
        InputError: It is on another.
    """
    if (found := device_of(tensor)) != device:
        raise InputError(
            f"{name} must be on the device of the model, {device}, got a tensor on {found}: move it there, "
            f"pass a NumPy array, or load the model with device={found!r}"
        )


def refuse_gradients(name: str, tensor: Any) -> None:
    """Check that nobody expects gradients.

    Raises:
        InputError: The tensor requires them.
    """
    if getattr(tensor, "requires_grad", False):
        raise InputError(
            f"{name} must not require gradients, since none are computed, got a tensor that does: pass "
            f"{name}.detach()"
        )


def on_host(name: str, tensor: Any) -> Any:
    """Return a tensor in the memory of the host, where NumPy can read it.

    Raises:
        InputError: It requires gradients.
    """
    refuse_gradients(name, tensor)
    if hasattr(tensor, "cpu"):
        return tensor.cpu()
    return tensor.get() if hasattr(tensor, "get") else tensor
