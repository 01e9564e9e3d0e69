"""Read a sample and save the estimate.

python save.py data.csv iris.estimate
"""

import sys

import numpy as np

import discoformer

source, target = sys.argv[1:]
sample = np.loadtxt(source, delimiter=",", skiprows=1)
discoformer.estimate(sample).save(target)
