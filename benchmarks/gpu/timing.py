"""Seconds of work on a device, its rate of matrix products, and the memory in use."""

import time
from collections.abc import Callable

import torch

from benchmarks.gpu.files import Setting
from benchmarks.speed.soak import resident_mb


def matmul_rate(setting: Setting) -> float:
    """Return the FLOP/s of a product of large float32 matrices, without TF32."""
    torch.set_float32_matmul_precision("highest")
    size = 8192 if setting.device == "cuda" else 512
    a, b = torch.randn(2, size, size, device=setting.device)
    return 2 * size**3 / seconds(lambda: a @ b, setting)


def seconds(work: Callable[[], object], setting: Setting, runs: int = 5) -> float:
    """Return the least wall seconds of several runs of a function, after one to warm up."""
    taken = []
    for _ in range(1 + runs):
        wait(setting)
        begin = time.perf_counter()
        work()
        wait(setting)
        taken.append(time.perf_counter() - begin)
    return min(taken[1:])


def wait(setting: Setting) -> None:
    """Wait until the device has done what PyTorch asked of it."""
    if setting.device == "cuda":
        torch.cuda.synchronize()


def held(setting: Setting) -> dict[str, float]:
    """Return the MB that this process holds, and those of the device that are in use by all."""
    found = {"host, MB": resident_mb()}
    if setting.device == "cuda":
        free, total = torch.cuda.mem_get_info()
        found["device, MB"] = (total - free) / 2**20
    return found
