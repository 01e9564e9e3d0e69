"""Errors and warnings. Each message states the value found, the value needed, and what to do.

The tree of classes. Each class also derives from the builtin class in brackets, so ``except ValueError`` and
the like catch it::

    DiscoformerError [Exception]
    ├── InputError [ValueError]                        invalid argument or input file
    │   └── DegenerateDataError [LinAlgError]          the data have no density (constant column, ...)
    ├── ModelError [ValueError]                        the files of a model cannot be used
    │   └── ModelNotFoundError [FileNotFoundError]     the model folder is absent or incomplete
    ├── DeviceError [RuntimeError]                     the requested device is not available
    └── MissingExtraError [ModuleNotFoundError]        an optional package is not installed

    DataWarning [UserWarning]                          columns or rows are left out, singular, or repeated
    RangeWarning [UserWarning]                         data outside the ranges the model was trained on
    DeviceWarning [UserWarning]                        the computation falls back to another device
"""

import sys
import warnings
from importlib import import_module
from types import FrameType
from typing import Any

import numpy as np

EXTRA_OF = {  # import name of an optional package: the extra of this package that installs it
    "onnxruntime": "cpu",
    "pyarrow": "io",
    "matplotlib": "plot",
    "sklearn": "sklearn",
    "scipy": "sklearn",
    "torch": "adapt",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "threadpoolctl": "serve",
}
INDEXED_AS = {
    "sklearn": "scikit-learn",
    "prometheus_client": "prometheus-client",
}  # names at the package index, where they are not the import name


class DiscoformerError(Exception):
    """Base class of all errors that this package raises on purpose."""


class InputError(DiscoformerError, ValueError):
    """An argument or an input file is invalid."""


class DegenerateDataError(InputError, np.linalg.LinAlgError):
    """The data have no density: a single point, a constant column, or collinear columns."""


class ModelError(DiscoformerError, ValueError):
    """The files of a model cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """The model folder does not exist, or a file in it is missing."""


class DeviceError(DiscoformerError, RuntimeError):
    """The requested device is not available."""


class MissingExtraError(DiscoformerError, ModuleNotFoundError):
    """A required optional package is not installed."""


class DataWarning(UserWarning):
    """Columns or rows are left out, singular or repeated, or values may mean something else than they say."""


class RangeWarning(UserWarning):
    """The data lie outside the ranges the model was trained on, so the estimate is an extrapolation."""


class DeviceWarning(UserWarning):
    """The computation runs on another device than the preferred one."""


def require(module: str) -> Any:
    """Import an optional module, or raise an error that says what to install.

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
        text = f"{package} is required here but not installed: pip install {INDEXED_AS.get(package, package)}"
        raise MissingExtraError(text, name=package) from error


def warn_caller(text: str, category: type[Warning]) -> None:
    """Warn with the line of the caller's code that called this package, however deep the call is."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and (_is_ours(frame) or _imports(frame)):
        level += not _imports(frame)  # warnings does not count the frames of an import
        frame = frame.f_back
    warnings.warn(text, category, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "discoformer"


def _imports(frame: FrameType) -> bool:
    return "importlib" in frame.f_code.co_filename and "_bootstrap" in frame.f_code.co_filename
