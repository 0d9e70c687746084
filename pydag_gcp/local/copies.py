"""A local cloud's data as a folder that can be copied: taken from one that is not running, put into another.

What is not data stays where it is: who serves the folder, its log, warm Sparks. Clusters and
their jobs do not go along.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydag_gcp.errors import LocalCloudError

#: Where a local cloud that is put back keeps its Sparks.
SPARES = "spares"

_NO_DATA = frozenset({"lock", "turn", "daemon.json", "daemon.new", "daemon.log", "daemon.log.1", SPARES})
_SECRETS = "secretmanager"
_LEFT_OUT = _NO_DATA | {"dataproc", "spool"}


def take(home: Path, copy: Path) -> None:
    """Copy the data of a local cloud that is not running; one that was never there has none.

    Args:
        home: Its folder.
        copy: A new folder.

    Raises:
        LocalCloudError: The folder cannot be read, or there is no room for the copy.
    """
    copy.mkdir(parents=True)
    _copy(home, copy, left_out=_LEFT_OUT)


def plant(seed: Path, copy: Path, *, secrets_of: Path) -> None:
    """Make the data of a local cloud that holds sample buckets and the secrets of another, and nothing else.

    Args:
        seed: A folder whose sub-folders are buckets; a file there is an object, as it is in a local cloud.
        copy: A new folder.
        secrets_of: The folder of the local cloud that has the secrets; it may be running.

    Raises:
        LocalCloudError: A folder cannot be read, or there is no room for the copy.
    """
    buckets = copy / "buckets"
    buckets.mkdir(parents=True)
    _copy(seed, buckets, left_out=frozenset(entry.name for entry in seed.iterdir() if not _is_bucket(entry)))
    if (secrets_of / _SECRETS).is_dir():
        (copy / _SECRETS).mkdir(mode=0o700)
        _copy(secrets_of / _SECRETS, copy / _SECRETS, left_out=_NO_DATA)


def put_back(copy: Path, home: Path) -> None:
    """Make the data of a local cloud that is not running those of a copy.

    Raises:
        LocalCloudError: There is no room for them.
    """
    for entry in home.iterdir():
        if entry.name in _NO_DATA:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    _copy(copy, home, left_out=_NO_DATA)


def _is_bucket(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _copy(source: Path, target: Path, *, left_out: frozenset[str]) -> None:
    try:
        for entry in source.iterdir() if source.is_dir() else ():
            if entry.name in left_out:
                continue
            if entry.is_dir():
                shutil.copytree(entry, target / entry.name, symlinks=True)
            else:
                shutil.copy2(entry, target / entry.name)
    except (OSError, shutil.Error) as error:
        raise LocalCloudError(f"the local cloud's data cannot be copied: {error}", where=str(source)) from error
