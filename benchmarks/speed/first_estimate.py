"""Seconds from the start of a process to its first answer: import, load, estimate, and query.

The context has 100 or 1,000 points in the plane, which are also the queries. CPU seconds include all threads
of ONNX Runtime and NumPy. Median of five runs, after one run to warm up.

    python -m benchmarks.speed.first_estimate
"""

import subprocess
import sys

PROGRAM = """
import time
marks = [("", time.perf_counter(), time.process_time())]
def mark(name):
    marks.append((name, time.perf_counter(), time.process_time()))
import numpy as np
mark("import numpy")
import discoformer
mark("import")
X = np.random.default_rng(0).normal(size=({rows}, 2))
p = discoformer.estimate(X)
mark("load, estimate")
p.log_density_and_score(X)
mark("answer")
for before, after in zip(marks, marks[1:]):
    print(f"{after[0]:16} {after[1] - before[1]:.2f} s, CPU {after[2] - before[2]:.2f} s")
print(f"{'total':16} {marks[-1][1] - marks[0][1]:.2f} s, CPU {marks[-1][2] - marks[0][2]:.2f} s")
"""


def run(rows: int) -> str:
    """Run the program in a new process, and return its output."""
    command = [sys.executable, "-c", PROGRAM.replace("{rows}", str(rows))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Print the run of median CPU time for each size."""
    for rows in (100, 1000):
        runs = [run(rows) for _ in range(6)][1:]
        print(
            f"{rows} points", sorted(runs, key=lambda text: float(text.split()[-2]))[len(runs) // 2], sep="\n"
        )


if __name__ == "__main__":
    main()
