"""The folder in which the processes of one user on one machine meet."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

_NAME = "pydag-gcp"


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """Find the folder, or make it: only its user may look into it.

    It is in ``$XDG_RUNTIME_DIR``, or where that usually is (processes without a session, such as those of cron, do not
    have the variable), or else in the folder for temporary files.
    https://specifications.freedesktop.org/basedir-spec/latest/#variables

    Raises:
        OSError: It cannot be made, or others may write to it.
    """
    folder = _place(environ)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is not a folder; remove it")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; set XDG_RUNTIME_DIR to a folder of yours")
    if found.st_mode & 0o022:
        raise PermissionError(f"{folder} can be written by others; chmod 700 it")
    return folder


def _place(environ: Mapping[str, str]) -> Path:
    for folder in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.getuid()}"):
        if folder.startswith("/") and _ours(Path(folder)):  # the specification has relative paths ignored
            return Path(folder) / _NAME
    return Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}"


def _ours(folder: Path) -> bool:
    """Whether it is the user's own: ``sudo`` may pass on the variable of another one."""
    try:
        return folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False
