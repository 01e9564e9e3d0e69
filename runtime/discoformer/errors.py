"""Errors and warnings: every one names what was given, what is needed, and what to do.

The tree (each class also derives from the builtin in brackets, so that ordinary handlers catch it)::

    DiscoformerError [Exception]
    ├── InputError [ValueError]                        an argument or a file that cannot be used
    │   └── DegenerateDataError [LinAlgError]          data that have no density (constant column, ...)
    ├── ModelError [ValueError]                        a model folder that cannot be used
    │   └── ModelNotFoundError [FileNotFoundError]     no model folder at the place looked at
    ├── DeviceError [RuntimeError]                     the device asked for cannot be had
    └── MissingExtraError [ModuleNotFoundError]        an optional package is not installed

    RangeWarning [UserWarning]                         data outside the ranges the model was trained on
    DeviceWarning [UserWarning]                        another device is used than hoped for
"""

from importlib import import_module
from typing import Any

import numpy as np

EXTRA_OF = {
    "onnxruntime": "cpu",
    "pyarrow": "io",
    "matplotlib": "plot",
    "sklearn": "sklearn",
    "torch": "adapt",
}


class DiscoformerError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(DiscoformerError, ValueError):
    """An argument or a file that cannot be used as it stands."""


class DegenerateDataError(InputError, np.linalg.LinAlgError):
    """Data without a density: a single point, a constant column, or collinear columns."""


class ModelError(DiscoformerError, ValueError):
    """A model folder whose files cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No model folder, or an incomplete one, where it was looked for."""


class DeviceError(DiscoformerError, RuntimeError):
    """The device asked for cannot be had."""


class MissingExtraError(DiscoformerError, ModuleNotFoundError):
    """An optional package is needed and not installed."""


class RangeWarning(UserWarning):
    """The data lie outside the ranges the model was trained on; the answer is an extrapolation."""


class DeviceWarning(UserWarning):
    """The computation runs on another device than hoped for."""


def require(module: str) -> Any:
    """Imports an optional module, or says which extra brings it.

    Args:
        module: Dotted name of the module, for example ``"pyarrow.csv"``.

    Raises:
        MissingExtraError: The package that holds the module is not installed.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or package).partition(".")[0] != package:
            raise
        text = f"{package} is needed here and not installed: pip install 'discoformer[{EXTRA_OF[package]}]'"
        raise MissingExtraError(text, name=package) from error
