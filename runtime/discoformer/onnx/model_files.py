"""The files in the folder of a model: who vouches for them, and reading them.

``discoformer-export`` and ``Model.save`` record the SHA-256 of each file in ``config.json``, in the entry
``"files"``. Files must have these hashes. This detects files that are damaged or mixed up. It does not detect
files of somebody who also changes the record. The hashes of the released models are part of this package (see
``released``). So a folder with the name and version of one must have its files.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from discoformer.errors import ModelError, ModelNotFoundError
from discoformer.io.files import read_file
from discoformer.onnx.metadata import Metadata
from discoformer.onnx.names import GRAPHS, RAW
from discoformer.onnx.released import RELEASED
from discoformer.onnx.safety import MOST_BYTES
from discoformer.onnx.weights import BASIS, FILE, MIXTURE_FILE

CONFIG = "config.json"
FILES = (
    *(graph.file for graphs in (*GRAPHS.values(), (RAW,)) for graph in graphs),
    FILE,
    MIXTURE_FILE,
    BASIS,
)

_MOST_CONFIG = 2**22  # largest size of config.json


def hash_of(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class ModelFiles:
    """The files of a model. An instance can be pickled.

    Attributes:
        folder: Their folder.
        is_trusted: Whether the user trusts them.
    """

    def __init__(self, folder: Path, trust: bool = False) -> None:
        """Read the record of the files.

        Args:
            folder: Their folder.
            trust: Whether the files are read without a record, or if they differ from it.

        Raises:
            ModelError: There is no record, unless ``trust``.
        """
        self.folder = folder
        self.is_trusted = trust
        self._recorded: Mapping[str, str] | None = None if trust else self._read_record()
        self._found: dict[str, str] = {}  # SHA-256 of the files that were read, by name

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """Read a file, and compare it with the record.

        Raises:
            ModelError: It is no regular file, is too large, cannot be read, or differs from the record.
            ModelNotFoundError: It does not exist.
        """
        content = self.read_again(name)
        found = self._found[name] = hash_of(content)
        if self._recorded is not None and found != (wanted := self._recorded.get(name)):
            raise ModelError(
                f"{self.folder / name} has the SHA-256 {found}, needed {wanted} as recorded in {CONFIG} "
                "beside it: the file is damaged or of another export; take the whole folder from its source "
                "again, export it again, or pass trust=True to discoformer.load if you made this file"
            )
        return content

    def read_again(self, name: str) -> bytes:
        """Read a file, and compare it with nothing; errors as in ``read``."""
        path = self.folder / name
        try:
            return read_file(path, _MOST_CONFIG if name == CONFIG else MOST_BYTES, ModelError)
        except FileNotFoundError as error:
            raise ModelNotFoundError(f"{path} does not exist: put the model back") from error
        except OSError as error:
            raise ModelError(
                f"{path} cannot be read ({error}): check its permissions and the disk"
            ) from error

    def read_config(self) -> dict[str, Any]:
        """Read config.json.

        Raises:
            ModelError: It is no JSON object, or cannot be read.
            ModelNotFoundError: It does not exist.
        """
        try:
            found = json.loads(self.read_again(CONFIG))
        except ModelError:
            raise
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"{self.folder / CONFIG} is not JSON ({error}): take the model from its source again"
            ) from error
        if not isinstance(found, dict):
            raise ModelError(
                f"{self.folder / CONFIG} holds no JSON object: take the model from its source again"
            )
        return found

    def is_known(self, name: str) -> bool:
        """Return whether a file is one of a released model."""
        found = self.sha256(name)
        return any(hashes.get(name) == found for hashes in RELEASED.values())

    def are_released(self, metadata: Metadata, names: Iterable[str]) -> bool:
        """Return whether files are those of a released model.

        Args:
            metadata: What they say of themselves.
            names: Those of them that exist and are to be compared.

        Raises:
            ModelError: They have the name and version of a released model, but another content.
        """
        hashes = RELEASED.get((metadata.name, metadata.version))
        if hashes is None:
            return False
        for name in names:
            if (found := self.sha256(name)) != hashes.get(name):
                raise ModelError(
                    f"{self.folder / name} has the SHA-256 {found}, but in the released model "
                    f"{metadata.name!r} {metadata.version} it is {hashes.get(name)}: take the whole folder "
                    "from its source again, or export your own model with another --name or --model-version"
                )
        return True

    def check_all(self, metadata: Metadata) -> None:
        """Compare all files with the record, or with the released model that they claim to be.

        Args:
            metadata: What the model says of itself.

        Raises:
            ModelError: A file differs.
        """
        names = [name for name in (*FILES, CONFIG) if self.exists(name)]
        if not self.are_released(metadata, names) and self._recorded is not None:
            for name in names:
                self.sha256(name)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file, which is read if it was not yet."""
        if name == CONFIG:
            return hash_of(self.read_again(name))
        if name not in self._found:
            self.read(name)
        return self._found[name]

    def _read_record(self) -> dict[str, str]:
        try:
            recorded = self.read_config().get("files")
        except ModelNotFoundError:
            recorded = None
        if not isinstance(recorded, dict) or not recorded:
            raise ModelError(
                f"{self.folder} has no record of its files ('files' in {CONFIG}), so nothing shows that they "
                "are as they were exported: take the whole folder from its source again, export it with "
                "discoformer-export, or pass trust=True to discoformer.load if you made these files"
            )
        return {str(name): str(hashed) for name, hashed in recorded.items()}
