"""Many threads and many calls of mixed sizes: equal answers, and constant memory after the warm-up.

    python -m benchmarks.speed.soak [MODEL] [--threads 8] [--calls 10000]

Each call estimates or queries. Contexts have 10 to 300 rows in 1 to 8 columns; there are 1 to 3,000 queries.
All answers must equal those of a first pass in one thread, bit for bit.
"""

import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from benchmarks.common.report import load_model

KINDS = 64  # number of different calls


@click.command()
@click.argument("model", default="base")
@click.option("--threads", default=8, show_default=True)
@click.option("--calls", default=10_000, show_default=True)
def main(model: str, threads: int, calls: int) -> None:
    """Test MODEL, the name or folder of a released model, and print its memory.

    The exit code is 1 if an answer differs, or if memory grows by 10 % after the warm-up.
    """
    loaded = load_model(model)
    rng = np.random.default_rng(0)
    contexts = [rng.normal(size=(rng.integers(10, 300), rng.integers(1, 9))) for _ in range(KINDS)]
    queries = [rng.normal(size=(int(10 ** rng.uniform(0, 3.5)), x.shape[1])) for x in contexts]
    fitted = [loaded.estimate(x) for x in contexts]

    def call(index: int) -> tuple[np.ndarray, np.ndarray]:
        kind = index % KINDS
        p = fitted[kind] if index % 8 else loaded.estimate(contexts[kind])  # every eighth call estimates
        return p.log_density_and_score(queries[kind])

    expected = [call(kind) for kind in range(KINDS)]
    start, sizes, wrong = time.perf_counter(), [], 0
    with ThreadPoolExecutor(threads) as pool:
        for index, got in enumerate(pool.map(call, range(calls))):
            want = expected[index % KINDS]
            wrong += not all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
            if index % (calls // 20 or 1) == 0:
                sizes.append(resident_mb())
                seconds = time.perf_counter() - start
                print(f"{index:6d} calls, {seconds:6.1f} s, {sizes[-1]:.0f} MB", flush=True)
    warm, last = max(sizes[: len(sizes) // 4]), max(sizes[-len(sizes) // 4 :])
    print(f"{wrong} of {calls} answers differ; peak memory {warm:.0f} MB, at the end {last:.0f} MB")
    sys.exit(wrong > 0 or last > 1.1 * warm)


def resident_mb() -> float:
    """Return the resident memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
