"""Density and score at two points.

pip install 'tritonclient[http]'; python ask.py [127.0.0.1:8000]
"""

import sys

import numpy as np
import tritonclient.http as triton

queries = np.array([[1.4, 0.2], [3.0, 0.8]])
given = triton.InferInput("queries", queries.shape, "FP64")
given.set_data_from_numpy(queries)
with triton.InferenceServerClient(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000") as client:
    found = client.infer("iris", [given])
for log_density, score in zip(found.as_numpy("log_density"), found.as_numpy("score"), strict=True):
    print(log_density, *score)
