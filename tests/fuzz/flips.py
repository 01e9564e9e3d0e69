"""One flipped bit in a file of a released model, or in a saved estimate: it is always noticed."""

import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import discoformer
from discoformer.errors import DiscoformerError
from discoformer.onnx.model_files import CONFIG, FILES
from tests.fuzz.common import MODEL, Report, cases

ESTIMATES = ("best", "fast")


def run(seed: int, deadline: float, count: int) -> Report:
    """Flip bits, as many in each file."""
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (*FILES, CONFIG):
            shutil.copy(MODEL / file, folder)
        model = discoformer.load(folder, "cpu", 1)
        x = np.random.default_rng(seed).normal(size=(60, 2))
        for effort in ESTIMATES:
            model.estimate(x, effort=effort).save(folder / effort, sample=True)
        files = (*FILES, CONFIG, *ESTIMATES)
        for number, case in cases(seed, deadline, count):
            file = files[number % len(files)]
            path, rng = folder / file, random.Random(case)
            place = rng.randrange(8 * path.stat().st_size)
            _flip(path, place)
            start = time.process_time()
            try:
                if file in ESTIMATES:
                    discoformer.load_estimate(path, model)
                else:
                    discoformer.load(folder, "cpu", 1)
                report.outcomes["unnoticed"] += 1
                report.fail(f"bit {place} of {file} was not noticed")
            except DiscoformerError as error:
                report.outcomes[type(error).__name__] += 1
            except Exception as error:  # whatever else there is
                report.outcomes["foreign error"] += 1
                report.fail(f"bit {place} of {file}: {type(error).__name__}: {error}")
            report.slowest = max(report.slowest, time.process_time() - start)
            _flip(path, place)
        discoformer.load(folder, "cpu", 1)  # all is as it was
    return report


def _flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place // 8)
        byte = file.read(1)[0]
        file.seek(place // 8)
        file.write(bytes([byte ^ 1 << place % 8]))
