"""Many threads, many calls of mixed sizes: every answer as in one thread, memory flat after the warm-up.

    python -m benchmarks.speed.soak [MODEL] [--threads 8] [--calls 10000]

Calls estimate or query: contexts of 10 to 300 rows in 1 to 8 columns, 1 to 3,000 queries. The answers of a
first pass in one thread are compared bit for bit. Prints the resident memory as it goes.
"""

import argparse
import resource
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import discoformer

KINDS = 64  # different calls


def main() -> None:
    """Run the soak test; exit code 1 if an answer differs or memory grows by a tenth after the warm-up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="base")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=10_000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", discoformer.RangeWarning)
    name = arguments.model
    model = discoformer.load(Path(name) if "/" in name else name, device="cpu", threads=1)
    rng = np.random.default_rng(0)
    contexts = [rng.normal(size=(rng.integers(10, 300), rng.integers(1, 9))) for _ in range(KINDS)]
    queries = [rng.normal(size=(int(10 ** rng.uniform(0, 3.5)), x.shape[1])) for x in contexts]
    fitted = [model.estimate(x) for x in contexts]

    def call(index: int) -> tuple[np.ndarray, np.ndarray]:
        kind = index % KINDS
        p = fitted[kind] if index % 8 else model.estimate(contexts[kind])  # every eighth reads a context
        return p.log_density_and_score(queries[kind])

    expected = [call(kind) for kind in range(KINDS)]
    start, sizes, wrong = time.perf_counter(), [], 0
    with ThreadPoolExecutor(arguments.threads) as pool:
        for index, got in enumerate(pool.map(call, range(arguments.calls))):
            want = expected[index % KINDS]
            wrong += not all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
            if index % (arguments.calls // 20 or 1) == 0:
                sizes.append(resident_mb())
                print(
                    f"{index:6d} calls, {time.perf_counter() - start:6.1f} s, {sizes[-1]:.0f} MB", flush=True
                )
    warm, last = max(sizes[: len(sizes) // 4]), max(sizes[-len(sizes) // 4 :])
    print(f"{wrong} of {arguments.calls} answers differ; at most {warm:.0f}, then {last:.0f} MB")
    sys.exit(wrong > 0 or last > 1.1 * warm)


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
