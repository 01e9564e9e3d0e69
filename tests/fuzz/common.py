"""What the parts share: the report of a run, and how the memory of this process is measured."""

import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MODEL = Path(__file__).parents[2] / "models" / "base"


@dataclass
class Report:
    """The result of a part."""

    outcomes: Counter[str] = field(default_factory=Counter)  # cases by what came of them
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds of processor time of a case
    greatest: float = 0.0  # MB that a case took at most

    def fail(self, text: str) -> None:
        """Add a failure."""
        self.failures.append(text)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.outcomes.most_common())
        measured = f"; slowest {self.slowest:.1f} s, most memory {self.greatest:.0f} MB"
        lines = [f"{sum(self.outcomes.values())} cases, {len(self.failures)} failures ({kinds}){measured}"]
        return "\n".join((*lines, *(f"  FAILURE {text}" for text in self.failures[:20])))


def cases(seed: int, deadline: float, count: int) -> Iterator[tuple[int, int]]:
    """Yield the number of each case and the seed that repeats it, until the time or the count is over."""
    number = 0
    while number < count and time.monotonic() < deadline:
        yield number, seed + number
        number += 1


def start_measuring() -> float:
    """Begin to measure the memory of this process anew; return what it has now, in MB (0 but on Linux)."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def most_memory() -> float:
    """Return the most memory that this process had since ``start_measuring``, in MB (0 but on Linux)."""
    return _status("VmHWM")


def _status(key: str) -> float:
    if sys.platform != "linux":
        return 0.0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def tried(check: Callable[[int], str], seed: int, deadline: float, count: int) -> Report:
    """Try cases with a function that returns what came of one, and raises if it is no good."""
    report = Report()
    for _, case in cases(seed, deadline, count):
        begun = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome = check(case)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            report.fail(f"seed {case}: {type(error).__name__}: {error} ({where.name}, line {where.lineno})")
            outcome = "failed"
        report.outcomes[outcome] += 1
        report.slowest = max(report.slowest, time.process_time() - begun)
    return report
