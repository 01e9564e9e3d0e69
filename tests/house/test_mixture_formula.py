"""The formula of docs/mixture/README.md is that of the package."""

import re
from pathlib import Path

import numpy as np
from scipy.special import gammaln, logsumexp

from discoformer.base.mixture import components_of
from discoformer.base.mixture_answers import MixtureAnswers

PAGE = Path(__file__).parents[2] / "docs" / "mixture" / "README.md"


def test_the_documented_formula_gives_the_answers_of_the_package():
    code = re.findall(r"```python\n(def .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    scope = {"np": np, "gammaln": gammaln, "logsumexp": logsumexp}
    exec(code, scope)
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 3, 5))
    mixture = np.log(rng.dirichlet(np.ones(6))), rng.normal(size=(6, 3)), root @ root.mT, rng.uniform(1, 9, 6)
    z = rng.normal(size=(4, 3))
    log_density, score = MixtureAnswers(components_of(*mixture)).answer(z)
    for i, point in enumerate(z):
        found, slope = scope["log_density_and_score"](point, *mixture)
        np.testing.assert_allclose(found, log_density[i], atol=1e-5)
        np.testing.assert_allclose(slope, score[i], atol=1e-5)
