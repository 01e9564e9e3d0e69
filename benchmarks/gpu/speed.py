"""How fast is it? Beside the CPU, PyTorch eager, and a brute-force KDE by PyTorch on the same device.

All are float32 without TF32. Times are wall seconds, the least of several runs. The KDE gives the same
answers, log-density and score. The CPU answers fewer queries, since the time of a query does not depend on
their number.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import discoformer
from benchmarks.gpu.files import Cases, Figures, Measured, Setting, as_text, draw
from benchmarks.gpu.timing import matmul_rate, seconds, wait
from discoformer.base.base import Base
from discoformer_training.nn.attention import attend_blocked
from discoformer_training.nn.network import DiScoFormer, Encoded
from discoformer_training.run.checkpoint import load_network

FEW = [(300, 128, 2)]  # N, M, D
SIZES = [
    *((n, n, 10) for n in (1024, 4096, 16_384, 65_536, 131_072)),
    (16_384, 131_072, 10),
    (16_384, 16_384, 2),
    (16_384, 16_384, 50),
]
MOST_ON_CPU = 4096  # queries
PAIRS = 2**27  # of a query and a point, in memory at a time
CHUNKS = (256, 1024, 4096, 8192, 16_384)
STEPS = 5


def speed(setting: Setting) -> Cases:
    """Microseconds of a query, and seconds of reading."""
    rate, models = matmul_rate(setting), (setting.load(), setting.load("cpu"))
    network = load_network(models[0].folder, attend_blocked).to(setting.device)
    for sizes in FEW if setting.small else SIZES:
        yield as_text(sizes, "N M D"), partial(_speed, setting, *models, network, rate, *sizes)


def _speed(
    setting: Setting,
    here: discoformer.Model,
    there: discoformer.Model,
    network: DiScoFormer,
    rate: float,
    n: int,
    m: int,
    dim: int,
) -> Measured:
    points, runs = draw(n + m, dim), 1 if setting.small else 3
    X, Y = points[:n], points[n:]
    begin = time.perf_counter()
    p = here.estimate(X)
    read = time.perf_counter() - begin
    q, some = p.with_graphs(there.graphs), Y[:MOST_ON_CPU]
    fast = here.estimate(X, effort="fast")
    ours = seconds(partial(p.log_density_and_score, Y), setting, runs)
    figures: Figures = {
        "read, s": read,
        "all queries, s": ours,
        "share of the matrix rate, %": 100 * flops_of_query(network, p, setting) * m / ours / rate,
        "a query, us": 1e6 * ours / m,
    }
    others: dict[str, Callable[[], object]] = {
        "fast": partial(fast.log_density_and_score, Y),
        "eager": partial(eager, network, p, Y, setting),
        "KDE": partial(kde, X, Y, setting),
    }
    for name, work in others.items():
        figures[f"{name}, us"] = 1e6 * seconds(work, setting, runs) / m
    on_cpu = seconds(partial(q.log_density_and_score, some), setting, 1) / len(some)
    return figures | {"CPU, us": 1e6 * on_cpu}, None


def encoded_on(p: discoformer.Estimate, setting: Setting) -> dict[str, Tensor]:
    """Return the encoded context as tensors on the device."""
    return {name: torch.from_numpy(array).to(setting.device) for name, array in p.encoded.arrays.items()}


@torch.no_grad()
def answered(network: DiScoFormer, given: dict[str, Tensor], queries: Tensor) -> tuple[Tensor, Tensor]:
    """Answer queries (1, M, D) in the frame by the network in PyTorch."""
    states = Encoded(given["scalars"], given["vectors"], given["sample"])
    base = Base.from_inputs(given)
    return network.query(queries, states, given["log_weights"], given["precision_root"], base)


def eager(network: DiScoFormer, p: discoformer.Estimate, Y: Any, setting: Setting) -> None:
    """Answer queries (M, D) in data units by the network in PyTorch."""
    given = encoded_on(p, setting)
    framed = torch.from_numpy(p.frame.to_frame(Y).astype(np.float32)).to(setting.device)
    for part in framed.split(8192):
        for answer in answered(network, given, part[None]):
            answer.cpu()


def flops_of_query(network: DiScoFormer, p: discoformer.Estimate, setting: Setting) -> float:
    """Return the floating-point operations of matrix products for one query."""
    given, count = encoded_on(p, setting), 64
    queries = torch.zeros(1, count, given["context"].shape[-1], device=setting.device)
    with FlopCounterMode(display=False) as counter:
        answered(network, given, queries)
    return counter.get_total_flops() / count


@torch.no_grad()
def kde(X: Any, Y: Any, setting: Setting) -> tuple[Any, Any]:
    """Return log-density (M,), up to a constant, and score (M, D) of a Gaussian KDE with Scott's rule."""
    x, y = (torch.from_numpy(points.astype(np.float32)).to(setting.device) for points in (X, Y))
    n, dim = x.shape
    scale = x.std(0) * n ** (-1 / (dim + 4))
    x, y = x / scale, y / scale
    norms, found = 0.5 * x.square().sum(1), []
    for part in y.split(max(1, PAIRS // n)):
        logits = torch.addmm(-norms, part, x.T)
        log_sum = logits.logsumexp(1)
        shift = (logits - log_sum[:, None]).exp_() @ x - part
        found.append((log_sum - 0.5 * part.square().sum(1), shift / scale))
    log_density, score = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return log_density, score


def chunks(setting: Setting) -> Cases:
    """Microseconds of a query by the number of queries in a run of query.onnx."""
    model = setting.load()
    for rows, dim in ((300, 2),) if setting.small else ((16_384, 10), (16_384, 50)):
        p = model.estimate(draw(rows, dim))
        for count in CHUNKS[:1] if setting.small else CHUNKS:
            case = f"{as_text((count, dim), 'M D')}, {len(p.landmarks.points):,} landmarks"
            yield case, partial(_run, setting, p, count)


def _run(setting: Setting, p: discoformer.Estimate, count: int) -> Measured:
    framed = np.resize(p.encoded.arrays["context"][0], (count, p.diagnostics.dim)).astype(float)
    taken = seconds(partial(p.graphs.query, framed, p.encoded), setting)
    return {"a run, ms": 1e3 * taken, "a query, us": 1e6 * taken / count}, None


def particles(setting: Setting) -> Cases:
    """A loop of particles on tensors of PyTorch, whose answers must be tensors on the same device."""
    model, points = setting.load(), draw(200 if setting.small else 4096, 2)
    loops: dict[str, Callable[[Any], Any]] = {
        "estimate, fast": lambda x: model.estimate(x, effort="fast").score(x),
        "estimate, best": lambda x: model.estimate(x).score(x),
        "one run of discoformer.onnx": lambda x: model.log_density_and_score(x, x)[1],
    }
    for name, score_of in loops.items():
        yield f"{name}, {len(points):,} points, D = 2", partial(moved, points, score_of, setting)


def moved(points: Any, score_of: Callable[[Any], Any], setting: Setting) -> Measured:
    """Let particles diffuse by the flow of the heat equation, as an array and as a tensor."""
    tensor = torch.from_numpy(points).to(setting.device)
    answer = score_of(tensor)
    stays = isinstance(answer, Tensor) and answer.device == tensor.device
    figures: Figures = {"answers": f"{type(answer).__name__} on {answer.device}"}
    if not stays:
        return figures, False
    wait(setting)
    begin = time.perf_counter()
    for _ in range(STEPS):
        tensor = tensor - 0.01 * score_of(tensor)
    wait(setting)
    figures["a step, ms"] = 1e3 * (time.perf_counter() - begin) / STEPS
    for _ in range(STEPS):
        points = points - 0.01 * score_of(points)
    apart = float(np.abs(tensor.cpu().numpy() - points).max())
    return figures | {"apart from arrays": apart}, apart < 1e-3
