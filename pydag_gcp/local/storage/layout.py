"""Where each object's bytes lie on disk.

An object is the plain file ``<root>/<bucket>/<name>`` wherever a file system can hold that name. Names it cannot hold
(``a/b`` beside ``a``, ``dir/``, ``a//b``, ``../x``, components over 255 bytes) live in a side tree, under a name that
is escaped so that nothing in it has a meaning to the file system. A plain file always wins over an escaped one: only
another process can have put it there, later.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from pydag_gcp.local.storage.stored import InvalidName

#: Longest name of an object, in bytes: https://cloud.google.com/storage/docs/objects#naming
LONGEST_NAME = 1024

_LONGEST_COMPONENT = 255
_PIECE = 200


class Layout:
    """The two trees.

    Args:
        root: The folder of buckets.
        escaped: The root of the side tree; on the same file system.
    """

    def __init__(self, root: Path, escaped: Path) -> None:
        self._root = root
        self._escaped = escaped

    def bucket(self, bucket: str) -> Path:
        """Return the folder of a bucket."""
        return self._root / bucket

    def find(self, bucket: str, name: str) -> tuple[Path, os.stat_result] | None:
        """Return an object's file, or None if there is no such object."""
        for path in self._candidates(bucket, name):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    return path, status
        return None

    def put(self, draft: Path, bucket: str, name: str) -> Path:
        """Move a finished file to where the object belongs, in one step, and return its new place.

        Raises:
            OSError: The file system refuses.
        """
        plain = self._plain(bucket, name)
        if plain is not None and self._fits(plain):
            try:
                draft.replace(plain)
            except FileNotFoundError:  # another process has just removed the folder
                plain.parent.mkdir(parents=True, exist_ok=True)
                draft.replace(plain)
            self._remove_escaped(bucket, name)
            return plain
        path = self._side(bucket, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(path)
        return path

    def remove(self, bucket: str, name: str) -> None:
        """Remove an object's file, and the folders that are empty without it: Cloud Storage has none."""
        self._remove_escaped(bucket, name)  # first, else it would come to light when the plain one is gone
        plain = self._plain(bucket, name)
        if plain is None:
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            plain.unlink()
            _prune(plain.parent, self.bucket(bucket))

    def remove_bucket(self, bucket: str) -> None:
        """Remove the folders of a bucket that has no objects.

        Raises:
            OSError: There are still files in it.
        """
        for folder, _, _ in os.walk(self.bucket(bucket), topdown=False):
            Path(folder).rmdir()

    def names(self, bucket: str, *, prefix: str = "", start: str = "") -> Iterator[str]:
        """Yield the names of a bucket's objects in order of their UTF-8 bytes.

        Args:
            bucket: The bucket.
            prefix: What each name begins with.
            start: The first name of interest.
        """
        # Python orders strings by code point, which is the order of their UTF-8 bytes.
        escaped = sorted(name for name in self._escaped_names(bucket) if name.startswith(prefix) and name >= start)
        parent = prefix[: prefix.rfind("/") + 1]
        if not parent:
            plain = _walk(self.bucket(bucket), "", prefix, start)
        elif (folder := self._plain(bucket, parent[:-1])) is not None:
            plain = _walk(folder, parent, prefix, start)
        else:
            plain = iter(())
        last = None
        for name in heapq.merge(plain, escaped):
            if name != last:
                yield name
            last = name

    def _candidates(self, bucket: str, name: str) -> Iterator[Path]:
        plain = self._plain(bucket, name)
        if plain is not None:
            yield plain
        yield self._side(bucket, name)

    def _plain(self, bucket: str, name: str) -> Path | None:
        """Return the file's place among the plain files, or None if no file system can hold it."""
        parts = name.split("/")
        if "\0" in name or any(part in {"", ".", ".."} for part in parts):
            return None
        if any(len(part.encode()) > _LONGEST_COMPONENT for part in parts):
            return None
        return self.bucket(bucket).joinpath(*parts)

    def _fits(self, plain: Path) -> bool:
        """Make the folders above a plain file; tell whether nothing is in the way."""
        try:
            plain.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            return False
        return not plain.is_dir()

    def _side(self, bucket: str, name: str) -> Path:
        # "%" and letters only, in pieces that a file system holds; "d" and "f" keep a name apart from a longer one.
        text = quote(name, safe="").replace(".", "%2E")
        pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
        return self._escaped.joinpath(bucket, *(f"d{piece}" for piece in pieces[:-1]), f"f{pieces[-1]}")

    def _escaped_names(self, bucket: str) -> Iterator[str]:
        top = self._escaped / bucket
        for folder, _, files in os.walk(top):
            pieces = [part[1:] for part in Path(folder).relative_to(top).parts]
            for file in files:
                yield unquote("".join([*pieces, file[1:]]))

    def _remove_escaped(self, bucket: str, name: str) -> None:
        path = self._side(bucket, name)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            _prune(path.parent, self._escaped)


def _prune(folder: Path, top: Path) -> None:
    """Remove a folder and those above it, as long as they are empty and below ``top``."""
    with contextlib.suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _walk(folder: Path, head: str, prefix: str, start: str) -> Iterator[str]:
    """Yield in order the names under a folder, leaving out what cannot match."""
    for key in _entries(folder):
        name = head + key
        if len(name.encode()) > LONGEST_NAME:
            continue  # no object can have that name
        if not key.endswith("/"):
            if name >= start and name.startswith(prefix):
                yield name
        elif (name.startswith(prefix) or prefix.startswith(name)) and (name >= start or start.startswith(name)):
            yield from _walk(folder / key, name, prefix, start)


def _entries(folder: Path) -> list[str]:
    """Return what lies in a folder, in the order of the names below: a folder's sorts with its slash."""
    keys = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if not _is_text(entry.name):
                continue  # not UTF-8, so it cannot name an object
            if entry.is_dir():
                keys.append(f"{entry.name}/")
            elif entry.is_file():
                keys.append(entry.name)
    return sorted(keys)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_name(name: str) -> bool:
    """Tell whether an object that Cloud Storage knows could have that name."""
    return bool(name) and len(name.encode()) <= LONGEST_NAME


def check_name(name: str) -> None:
    """Refuse what Cloud Storage refuses: https://cloud.google.com/storage/docs/objects#naming .

    Raises:
        InvalidName: No object can have that name.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName("The name of the object is not valid Unicode.") from None
    if not name:
        raise InvalidName("Required parameter: name")
    if size > LONGEST_NAME:
        raise InvalidName(
            f"The maximum object length is {LONGEST_NAME} characters, but got a name with {size} characters"
        )
    if name in {".", ".."} or "\r" in name or "\n" in name or name.startswith(".well-known/acme-challenge/"):
        raise InvalidName(f"Invalid object name: {name!r}")
