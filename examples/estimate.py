"""Density and score by ONNX Runtime alone: `python estimate.py discoformer.onnx data.csv`."""

import sys

import numpy as np
import onnxruntime

context = np.loadtxt(sys.argv[2], delimiter=",", skiprows=1)[None]  # (1, N, D): the sample, in any units
queries = np.array([[[1.4, 0.2], [3.0, 0.8]]])  # (1, M, D): where to answer
log_weights = np.zeros(context.shape[:2])  # (1, N): every row counts alike

session = onnxruntime.InferenceSession(sys.argv[1])
log_density, score = session.run(
    ["log_density", "score"], {"context": context, "queries": queries, "log_weights": log_weights}
)
for t, s in zip(log_density[0], score[0], strict=True):
    print(t, *s)
