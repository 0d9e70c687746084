"""Buckets: the folders below one root."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydag_gcp.local.storage.attributes import Attributes
from pydag_gcp.local.storage.layout import Layout
from pydag_gcp.local.storage.stored import (
    ALWAYS,
    Bucket,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    Fields,
    InvalidName,
    Precondition,
)

#: https://cloud.google.com/storage/docs/buckets#naming
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


class Buckets:
    """All buckets below one folder; safe to use from many threads of one process.

    Args:
        root: The folder of buckets, ``<home>/buckets``. What is kept beside lies in ``<home>/objects`` and
            ``<home>/spool``, which must be on the same file system.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = root.parent / "spool"
        side = root.parent / "objects"
        for folder in (root, self.spool, side):
            folder.mkdir(parents=True, exist_ok=True)
        for abandoned in self.spool.glob("draft-*"):
            abandoned.unlink(missing_ok=True)
        self._layout = Layout(root, side / "escaped")
        self._attributes = Attributes(side / "attributes.db")
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the database of attributes."""
        with self._lock:
            self._attributes.close()

    def create_bucket(self, name: str, *, project: str | None = None, fields: Fields | None = None) -> Bucket:
        """Create a bucket.

        Args:
            name: Its name.
            project: The project that owns it.
            fields: The rest, under the names of the API's resource.

        Raises:
            InvalidName: No bucket can have that name.
            BucketExists: It is taken.
        """
        if not _NAME.fullmatch(name) or ".." in name:
            raise InvalidName(f"Invalid bucket name: '{name}'")
        with self._lock:
            try:
                self._layout.bucket(name).mkdir()
            except FileExistsError:
                raise BucketExists from None
            now = time.time_ns()
            bucket = Bucket(name=name, project=project, created_ns=now, updated_ns=now, fields=fields or {})
            self._attributes.forget_bucket(name)
            self._attributes.put_bucket(bucket)
            return bucket

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            BucketNotFound: There is none of that name.
        """
        if not _NAME.fullmatch(name) or not self._layout.bucket(name).is_dir():
            raise BucketNotFound(name)
        with self._lock:
            return self._attributes.bucket(name) or self._adopt_bucket(name)

    def buckets(self) -> list[Bucket]:
        """Return all buckets, sorted by name."""
        names = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        return [self.bucket(name) for name in names if _NAME.fullmatch(name)]

    def change_bucket(
        self, name: str, edit: Callable[[Fields], Fields], *, precondition: Precondition = ALWAYS
    ) -> Bucket:
        """Give a bucket other fields.

        Args:
            name: Its name.
            edit: Makes the new fields of the present ones.
            precondition: What must hold.

        Raises:
            BucketNotFound: There is none of that name.
            PreconditionFailed: It is not in that state.
        """
        with self._lock:
            bucket = self.bucket(name)
            precondition.check(bucket)
            changed = replace(
                bucket, fields=edit(bucket.fields), metageneration=bucket.metageneration + 1, updated_ns=time.time_ns()
            )
            self._attributes.put_bucket(changed)
            return changed

    def delete_bucket(self, name: str, *, precondition: Precondition = ALWAYS) -> None:
        """Delete a bucket that has no objects.

        Raises:
            BucketNotFound: There is none of that name.
            BucketNotEmpty: It has objects.
            PreconditionFailed: It is not in that state.
        """
        with self._lock:
            precondition.check(self.bucket(name))
            if next(self._layout.names(name), None) is not None:
                raise BucketNotEmpty
            try:
                self._layout.remove_bucket(name)
            except OSError:  # another process has just written there
                raise BucketNotEmpty from None
            self._attributes.forget_bucket(name)

    def _adopt_bucket(self, name: str) -> Bucket:
        status = self._layout.bucket(name).stat()
        bucket = Bucket(name=name, created_ns=status.st_mtime_ns, updated_ns=status.st_mtime_ns)
        self._attributes.put_bucket(bucket)
        return bucket
