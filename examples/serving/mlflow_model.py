"""A saved estimate as a model of MLflow.

pip install mlflow; python mlflow_model.py iris.estimate

It logs the model in the current tracking server (MLFLOW_TRACKING_URI) and prints where. Serve it with

    mlflow models serve --model-uri WHERE --env-manager local --port 5001

and ask it at /invocations with {"inputs": [[1.4, 0.2], [3.0, 0.8]]}.
"""

import sys

import mlflow
import numpy as np
import pandas as pd

import discoformer


class Density(mlflow.pyfunc.PythonModel):
    """Answers rows with their log-density and score."""

    def load_context(self, context):
        """Open the estimate, with one thread: MLflow starts as many processes as it is told to."""
        model = discoformer.load("base", threads=1)
        self.estimate = discoformer.load_estimate(context.artifacts["estimate"], model)

    def predict(self, context, model_input, params=None):
        """Return a table with the log-density of each row, in nats, and the columns of the score."""
        log_density, score = self.estimate.log_density_and_score(np.asarray(model_input, dtype=float))
        columns = {f"score_{number}": column for number, column in enumerate(score.T)}
        return pd.DataFrame({"log_density": log_density, **columns})


if __name__ == "__main__":
    path = sys.argv[1]
    estimate = discoformer.load_estimate(path)
    example = np.zeros((2, estimate.diagnostics.dim))
    info = mlflow.pyfunc.log_model(
        name="density",
        python_model=Density(),
        artifacts={"estimate": path},
        pip_requirements=["discoformer[cpu]"],
        signature=mlflow.models.infer_signature(example),
    )
    print(info.model_uri)
