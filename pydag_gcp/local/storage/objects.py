"""Buckets and objects as plain files, with Cloud Storage's generations and preconditions; no HTTP here.

A file that another process puts into a bucket's folder is at once an object. Whatever the API writes is spooled first
and renamed into place, so nobody ever sees half an object, and a kill at any moment leaves the old one or the new one.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pydag_gcp.local.storage.buckets import Buckets
from pydag_gcp.local.storage.drafts import Checksums, Draft, blocks, checksums_of
from pydag_gcp.local.storage.layout import check_name, is_name
from pydag_gcp.local.storage.stored import (
    ALWAYS,
    Bucket,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    Fields,
    InvalidContent,
    InvalidName,
    ObjectNotFound,
    Opened,
    Precondition,
    PreconditionFailed,
    StorageError,
    StoredObject,
)

__all__ = [
    "Bucket",
    "BucketExists",
    "BucketNotEmpty",
    "BucketNotFound",
    "InvalidContent",
    "InvalidName",
    "ObjectNotFound",
    "Objects",
    "Opened",
    "Precondition",
    "PreconditionFailed",
    "StorageError",
    "StoredObject",
]

#: How many objects are looked up under one lock when they are listed.
_LOT = 500


class Objects(Buckets):
    """The objects in all buckets below one folder; safe to use from many threads of one process."""

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> StoredObject:
        """Return an object.

        Args:
            bucket: Its bucket.
            name: Its name.
            generation: The generation it must have; None for whichever there is.

        Raises:
            BucketNotFound: There is no such bucket.
            ObjectNotFound: There is no such object, or not in that generation.
        """
        stored = self.find(bucket, name)
        if stored is None or generation not in {None, stored.generation}:
            raise ObjectNotFound(bucket, name)
        return stored

    def find(self, bucket: str, name: str) -> StoredObject | None:
        """Return an object, or None if there is none of that name.

        Raises:
            BucketNotFound: There is no such bucket.
        """
        with self._lock:
            self.bucket(bucket)
            return self._lookup(bucket, [name]).get(name) if is_name(name) else None

    def list(self, bucket: str, prefix: str = "", *, start: str = "") -> Iterator[StoredObject]:
        """Yield the objects of a bucket in order of their names' UTF-8 bytes.

        Args:
            bucket: The bucket.
            prefix: What each name begins with.
            start: The first name of interest.

        Raises:
            BucketNotFound: There is no such bucket.
        """
        names = self.names(bucket, prefix, start=start)
        size = 1  # a lot is looked up ahead of need, so the first ones are small
        while lot := [*itertools.islice(names, size)]:
            yield from self.select(bucket, lot)
            size = min(2 * size, _LOT)

    def names(self, bucket: str, prefix: str = "", *, start: str = "") -> Iterator[str]:
        """Yield the names that :meth:`list` would, without looking at the objects.

        Raises:
            BucketNotFound: There is no such bucket.
        """
        self.bucket(bucket)
        return self._layout.names(bucket, prefix=prefix, start=start)

    def select(self, bucket: str, names: Sequence[str]) -> Sequence[StoredObject]:
        """Return those objects of these names that exist, in the order of the names.

        Raises:
            BucketNotFound: There is no such bucket.
        """
        self.bucket(bucket)
        found: dict[str, StoredObject] = {}
        for start in range(0, len(names), _LOT):
            with self._lock:
                found |= self._lookup(bucket, names[start : start + _LOT])
        return [found[name] for name in names if name in found]

    def match(self, uri: str) -> Sequence[StoredObject]:
        """Return the objects that a ``gs://`` name stands for; ``*`` is any number of characters, slashes too.

        Contract: https://cloud.google.com/bigquery/docs/batch-loading-data#load-wildcards

        Raises:
            InvalidName: It is no ``gs://`` name, or its bucket has a wildcard.
            BucketNotFound: There is no such bucket.
            ObjectNotFound: It has no wildcard, and there is no such object.
        """
        bucket, slash, name = uri.removeprefix("gs://").partition("/")
        if not uri.startswith("gs://") or "*" in bucket or not slash or not name:
            raise InvalidName(f"Invalid Cloud Storage URI '{uri}': expected gs://bucket/name")
        if "*" not in name:
            return [self.get(bucket, name)]
        pattern = re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)
        return [stored for stored in self.list(bucket, name.partition("*")[0]) if pattern.fullmatch(stored.name)]

    def open(self, bucket: str, name: str) -> BinaryIO:
        """Open an object to read it.

        Raises:
            BucketNotFound: There is no such bucket.
            ObjectNotFound: There is no such object.
        """
        return self.opened(bucket, name).file

    def opened(self, bucket: str, name: str, *, generation: int | None = None) -> Opened:
        """Open an object and tell which generation of it that is.

        Raises:
            BucketNotFound: There is no such bucket.
            ObjectNotFound: There is no such object, or not in that generation.
        """
        with self._lock:
            stored = self.get(bucket, name, generation=generation)
            try:
                return Opened(stored=stored, file=stored.path.open("rb"))
            except FileNotFoundError:  # another process has just removed it
                raise ObjectNotFound(bucket, name) from None

    def checksums(self, stored: StoredObject) -> Checksums:
        """Return an object's checksums; what another process wrote is read once to compute them.

        Raises:
            ObjectNotFound: It is no longer there in that generation.
        """
        if stored.checksums is not None:
            return stored.checksums
        opened = self.opened(stored.bucket, stored.name, generation=stored.generation)
        if opened.stored.checksums is not None:  # another thread was quicker
            opened.file.close()
            return opened.stored.checksums
        with opened.file as file:
            sums = checksums_of(file)
        with self._lock:
            current = self.get(stored.bucket, stored.name, generation=stored.generation)
            self._attributes.change(replace(current, checksums=sums))
        return sums

    def write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        fields: Fields | None = None,
        precondition: Precondition = ALWAYS,
    ) -> StoredObject:
        """Write an object.

        Args:
            bucket: Its bucket.
            name: Its name.
            chunks: Its bytes.
            content_type: Its media type.
            fields: The rest, under the names of the API's resource, such as ``metadata``.
            precondition: What must hold at the moment the object is put in place.

        Raises:
            BucketNotFound: There is no such bucket.
            InvalidName: No object can have that name.
            PreconditionFailed: The present object is not in that state.
        """
        check_name(name)
        with self._lock:
            precondition.check(self.find(bucket, name))
        with self.draft(chunks) as draft:
            more = {} if content_type is None else {"contentType": content_type}
            return self.put(bucket, name, draft, fields={**(fields or {}), **more}, precondition=precondition)

    @contextmanager
    def draft(self, chunks: Iterable[bytes] = ()) -> Iterator[Draft]:
        """Spool bytes for :meth:`put`; they vanish at the end of the ``with`` block if they were not put."""
        draft = Draft.new(self.spool, chunks)
        try:
            yield draft
        finally:
            draft.discard()

    def put(
        self, bucket: str, name: str, draft: Draft, *, fields: Fields | None = None, precondition: Precondition = ALWAYS
    ) -> StoredObject:
        """Make an object of a draft.

        Raises:
            BucketNotFound: There is no such bucket.
            InvalidName: No object can have that name.
            PreconditionFailed: The present object is not in that state.
        """
        check_name(name)
        with self._lock:
            precondition.check(self.find(bucket, name))
            status = draft.path.stat()
            now = time.time_ns()
            stored = StoredObject(
                bucket=bucket,
                name=name,
                path=draft.path,
                size=status.st_size,
                generation=self._attributes.next_generation(bucket, name, status.st_mtime_ns),
                created_ns=now,
                updated_ns=now,
                fields=dict(fields or {}),
                checksums=draft.checksums,
            )
            # The row first: it speaks for the draft's inode, so it holds from the moment of the rename, and not before.
            self._attributes.put(stored, status)
            path = self._layout.put(draft.path, bucket, name)
            self._attributes.keep_only(stored)
            return replace(stored, path=path)

    def change(
        self,
        bucket: str,
        name: str,
        edit: Callable[[Fields], Fields],
        *,
        generation: int | None = None,
        precondition: Precondition = ALWAYS,
    ) -> StoredObject:
        """Give an object other fields.

        Args:
            bucket: Its bucket.
            name: Its name.
            edit: Makes the new fields of the present ones.
            generation: The generation it must have; None for whichever there is.
            precondition: What must hold.

        Raises:
            BucketNotFound: There is no such bucket.
            ObjectNotFound: There is no such object, or not in that generation.
            PreconditionFailed: It is not in that state.
        """
        with self._lock:
            stored = self.get(bucket, name, generation=generation)
            precondition.check(stored)
            changed = replace(
                stored,
                fields=edit(stored.fields),
                metageneration=stored.metageneration + 1,
                updated_ns=time.time_ns(),
            )
            self._attributes.change(changed)
            return changed

    def delete(
        self, bucket: str, name: str, *, generation: int | None = None, precondition: Precondition = ALWAYS
    ) -> None:
        """Delete an object.

        Raises:
            BucketNotFound: There is no such bucket.
            ObjectNotFound: There is no such object, or not in that generation.
            PreconditionFailed: It is not in that state.
        """
        with self._lock:
            stored = self.get(bucket, name, generation=generation)
            precondition.check(stored)
            self._layout.remove(bucket, name)
            self._attributes.forget(bucket, name, stored.generation)

    def copy(
        self,
        source: Opened,
        bucket: str,
        name: str,
        *,
        fields: Fields | None = None,
        precondition: Precondition = ALWAYS,
    ) -> StoredObject:
        """Write an object with the bytes of another one.

        Args:
            source: The other one.
            bucket: Its bucket.
            name: Its name.
            fields: Its fields; None for those of the source.
            precondition: What must hold at the moment the object is put in place.

        Raises:
            BucketNotFound: There is no such bucket.
            InvalidName: No object can have that name.
            PreconditionFailed: The present object is not in that state.
        """
        with source.file as file:
            kept = source.stored.fields if fields is None else fields
            return self.write(bucket, name, blocks(file), fields=kept, precondition=precondition)

    def compose(
        self,
        sources: Sequence[Opened],
        bucket: str,
        name: str,
        *,
        fields: Fields | None = None,
        precondition: Precondition = ALWAYS,
    ) -> StoredObject:
        """Write an object with the bytes of others, one after the other.

        Raises:
            BucketNotFound: There is no such bucket.
            InvalidName: No object can have that name.
            PreconditionFailed: The present object is not in that state.
        """
        count = sum(int(source.stored.fields.get("componentCount", 1)) for source in sources)
        chunks = itertools.chain.from_iterable(blocks(source.file) for source in sources)
        fields = {**(fields or {}), "componentCount": count}
        return self.write(bucket, name, chunks, fields=fields, precondition=precondition)

    def _lookup(self, bucket: str, names: Sequence[str]) -> dict[str, StoredObject]:
        """Return the objects there are of these names; those that another process wrote are given a generation."""
        files = {name: file for name in names if (file := self._layout.find(bucket, name)) is not None}
        known = self._attributes.objects(bucket, files)
        adopted = [
            (self._adopt(bucket, name, path, status), status)
            for name, (path, status) in files.items()
            if name not in known
        ]
        if adopted:
            self._attributes.put_all(adopted)
            for stored, _ in adopted:
                self._attributes.keep_only(stored)
                known[stored.name] = stored
        return known

    def _adopt(self, bucket: str, name: str, path: Path, status: os.stat_result) -> StoredObject:
        return StoredObject(
            bucket=bucket,
            name=name,
            path=path,
            size=status.st_size,
            generation=self._attributes.next_generation(bucket, name, status.st_mtime_ns),
            created_ns=status.st_mtime_ns,
            updated_ns=status.st_mtime_ns,
        )
