"""The estimate as scikit-learn estimators, for pipelines and cross-validation. Needs the extra [sklearn].

``DensityEstimator`` gives log-densities, ``DensityClusterer`` clusters, ``DensityImputer`` what is missing,
``AnomalyDetector`` rows of low density.
"""

from discoformer.errors import require

try:
    from discoformer.sklearn.clusterer import DensityClusterer
    from discoformer.sklearn.detector import AnomalyDetector
    from discoformer.sklearn.estimator import DensityEstimator
    from discoformer.sklearn.imputer import DensityImputer
except ModuleNotFoundError:
    require("sklearn")  # says which extra brings it
    raise

__all__ = ["AnomalyDetector", "DensityClusterer", "DensityEstimator", "DensityImputer"]
