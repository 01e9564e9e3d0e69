#!/bin/sh
# Density and score at two points, with curl: sh curl.sh [http://127.0.0.1:8000]
curl --silent --show-error --fail-with-body "${1:-http://127.0.0.1:8000}/v2/models/iris/infer" --data '{
  "inputs": [{"name": "queries", "shape": [2, 2], "datatype": "FP64", "data": [[1.4, 0.2], [3.0, 0.8]]}]
}'
