"""Write a figure to a file."""

import io
from pathlib import Path
from typing import Any

from discoformer.io.files import write_bytes


def write_picture(path: Path, figure: Any, dpi: int) -> None:
    """Write a figure of matplotlib to a file, all of it or nothing. Its suffix gives the format.

    Raises:
        OSError: The file cannot be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, dpi=dpi, format=path.suffix[1:])
    write_bytes(path, picture.getvalue())
