"""CPU seconds of a fresh process up to its first answer: import, load, 1,000 points in 2-D, at those points.

python benchmarks/first_estimate.py
"""

import subprocess
import sys

PROGRAM = """
import time
marks = [("start", time.process_time())]
import numpy as np
marks.append(("numpy", time.process_time()))
import discoformer
model = discoformer.load(device="cpu")
marks.append(("import and load", time.process_time()))
X = np.random.default_rng(0).normal(size=(1000, 2))
p = model.estimate(X)
marks.append(("estimate", time.process_time()))
p.log_density_and_score(X)
marks.append(("answer", time.process_time()))
for (_, before), (name, after) in zip(marks, marks[1:]):
    print(f"{name:16} {after - before:.2f} s")
print(f"{'total':16} {marks[-1][1]:.2f} s")
"""


def main() -> None:
    """Run the program five times and print the median by its total."""
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(5)
    ]
    print(sorted(runs, key=lambda text: float(text.split()[-2]))[2], end="")


if __name__ == "__main__":
    main()
