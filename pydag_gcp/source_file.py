"""The bytes of a file that a user names as a pipeline."""

from __future__ import annotations

import stat
from pathlib import Path

from pydag_gcp.errors import DefinitionError

#: Longest definition, in bytes: a thousand tasks take about a tenth of it.
LONGEST = 4 * 1024 * 1024


def read(path: Path) -> bytes:
    """Read a whole file, if it is one and of a size that a definition may have.

    Raises:
        DefinitionError: It is missing, no regular file, too large or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DefinitionError("is no file", where=str(path), hint=_hint(status.st_mode))
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(content) > LONGEST:
        size = max(status.st_size, len(content)) / 1024 / 1024
        most = LONGEST // 1024 // 1024
        raise DefinitionError(f"is {size:.0f} MB large; a pipeline has at most {most} MB", where=str(path))
    return content


def _hint(mode: int) -> str:
    return "name a pipeline inside this folder" if stat.S_ISDIR(mode) else "name a .py, .yaml or .json file"
