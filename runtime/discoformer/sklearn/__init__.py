"""scikit-learn estimators, for pipelines and cross-validation. They need the extra ``[sklearn]``.

``DensityEstimator`` estimates log-densities. ``DensityClusterer`` finds clusters. ``DensityImputer`` fills in
missing entries. ``AnomalyDetector`` detects rows of low density.
"""

from discoformer.errors import require

try:
    from discoformer.sklearn.clusterer import DensityClusterer
    from discoformer.sklearn.detector import AnomalyDetector
    from discoformer.sklearn.estimator import DensityEstimator
    from discoformer.sklearn.imputer import DensityImputer
except ModuleNotFoundError:
    require("sklearn")  # raises an error that names the extra, if scikit-learn is not installed
    raise

__all__ = ["AnomalyDetector", "DensityClusterer", "DensityEstimator", "DensityImputer"]
