"""Metadata in a model file: name, version, hash of the weights, trained ranges."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from discoformer.errors import ModelError

_MOST = 2**40  # of any count


@dataclass(frozen=True)
class Metadata:
    """Metadata in a model file."""

    name: str
    version: str
    licence: str
    opset: str
    exporter: str
    weights_sha256: str  # hash of the weights, the same in all files of a model
    training_commit: str
    training_step: str
    trained_dim: tuple[int, int]  # smallest and largest number of columns seen in training
    trained_context: tuple[int, int]  # smallest and largest number of rows
    trained_modes: tuple[int, int]  # smallest and largest number of mixture components
    landmarks: int  # largest number of rows read in training; of larger samples only a part is read
    config: dict[str, Any]  # configuration of the network
    mixture_sha256: str = ""  # hash of the weights of the mixture network that this one refines, if any

    @classmethod
    def parse(cls, raw: Mapping[str, str], path: Path) -> Self:
        """Parse the metadata of a file.

        Args:
            raw: The entries of the file.
            path: Path of the file, for error messages.

        Raises:
            ModelError: An entry is missing, malformed or out of range.
        """

        def count(key: str) -> int:
            if not 1 <= (number := int(raw[key])) <= _MOST:
                raise ValueError(f"{key} is {number}, needed 1 to {_MOST}")
            return number

        def span(key: str) -> tuple[int, int]:
            low, high = count(f"trained_{key}_min"), count(f"trained_{key}_max")
            if low > high:
                raise ValueError(f"trained_{key}_min is {low}, above {high}")
            return low, high

        try:
            return cls(
                name=raw["name"],
                version=raw["version"],
                licence=raw["licence"],
                opset=raw["opset"],
                exporter=raw["exporter"],
                weights_sha256=raw["weights_sha256"],
                training_commit=raw["training_commit"],
                training_step=raw["training_step"],
                trained_dim=span("dim"),
                trained_context=span("context"),
                trained_modes=span("modes"),
                landmarks=count("landmarks"),
                config=json.loads(raw["config"]),
                mixture_sha256=raw.get("mixture_sha256", ""),
            )
        except (KeyError, ValueError, RecursionError) as error:
            raise ModelError(
                f"{path} has no usable metadata ({type(error).__name__}: {error}): it was not written by "
                "discoformer-export, or by another version of it; export the model again"
            ) from error

    def doubts_about_landmarks(self, landmarks: int) -> tuple[str, ...]:
        """Return a sentence if the network reads more rows than in training, else nothing."""
        if landmarks <= self.landmarks:
            return ()
        return (
            f"The network reads {landmarks} rows, more than the {self.landmarks} it was trained to read.",
        )

    def out_of_range(self, n: int, dim: int) -> tuple[str, ...]:
        """Return one sentence for each trained range that n rows and dim columns are outside of."""
        sizes = (("rows", n, self.trained_context), ("columns", dim, self.trained_dim))
        return tuple(
            f"X has {size} {what}, outside the {low} to {high} that the model {self.name!r} was trained on: "
            "check the estimate against another method."
            for what, size, (low, high) in sizes
            if not low <= size <= high
        )
