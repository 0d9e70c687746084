"""What is known of buckets and objects beside their bytes, in one SQLite file.

A row about an object speaks for one file only: the one whose modification time, size and inode it names. So a file that
another process put there, over an object or where none was, is noticed and gets a new generation; and an object and its
row change in one step, the rename of the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from pydag_gcp.local.storage.drafts import Checksums
from pydag_gcp.local.storage.stored import Bucket, StoredObject

_COLUMNS = "name, generation, mtime_ns, size, inode, metageneration, created_ns, updated_ns, fields, md5, crc32c"


class Attributes:
    """The database; its owner must not use it from two threads at once.

    Args:
        file: Where it is, or is to be.
    """

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A process that is killed loses nothing; only a power cut may, and then files speak for themselves.
        self._database.execute("PRAGMA synchronous = NORMAL")
        schema = resources.files(__package__).joinpath("attributes.sql").read_text("utf-8")
        self._database.executescript(schema)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def bucket(self, name: str) -> Bucket | None:
        """Return what is known of a bucket."""
        row = self._database.execute(
            "SELECT project, created_ns, updated_ns, metageneration, fields FROM buckets WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        project, created_ns, updated_ns, metageneration, fields = row
        return Bucket(
            name=name,
            project=project,
            created_ns=created_ns,
            updated_ns=updated_ns,
            metageneration=metageneration,
            fields=json.loads(fields),
        )

    def put_bucket(self, bucket: Bucket) -> None:
        """Remember a bucket."""
        self._database.execute(
            "INSERT INTO buckets (name, project, created_ns, updated_ns, metageneration, fields)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET project = excluded.project,"
            " updated_ns = excluded.updated_ns, metageneration = excluded.metageneration, fields = excluded.fields",
            (
                bucket.name,
                bucket.project,
                bucket.created_ns,
                bucket.updated_ns,
                bucket.metageneration,
                json.dumps(bucket.fields),
            ),
        )

    def forget_bucket(self, bucket: str) -> None:
        """Forget a bucket and all that was in it."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM objects WHERE bucket = ?", (bucket,))
            self._database.execute("DELETE FROM buckets WHERE name = ?", (bucket,))

    def next_generation(self, bucket: str, name: str, at_least: int) -> int:
        """Return a generation higher than any that an object of this name has had."""
        row = self._database.execute(
            "SELECT max((SELECT coalesce(max(generation), 0) FROM objects WHERE bucket = ? AND name = ?),"
            " (SELECT coalesce(max(floor), 0) FROM buckets WHERE name = ?))",
            (bucket, name, bucket),
        ).fetchone()
        return max(at_least, int(row[0]) + 1)

    def object(self, bucket: str, name: str, path: Path, status: os.stat_result) -> StoredObject | None:
        """Return what is known of an object in this very file."""
        return self.objects(bucket, {name: (path, status)}).get(name)

    def objects(self, bucket: str, files: dict[str, tuple[Path, os.stat_result]]) -> dict[str, StoredObject]:
        """Return, by name, what is known of many objects in these very files."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND name IN (SELECT value FROM json_each(?))",  # noqa: S608
            (bucket, json.dumps(list(files))),
        )
        known = {}
        for name, generation, *identity, metageneration, created_ns, updated_ns, fields, md5, crc32c in rows:
            path, status = files[name]
            if tuple(identity) == _identity(status):
                known[name] = StoredObject(
                    bucket=bucket,
                    name=name,
                    path=path,
                    size=status.st_size,
                    generation=generation,
                    metageneration=metageneration,
                    created_ns=created_ns,
                    updated_ns=updated_ns,
                    fields=json.loads(fields),
                    checksums=None if crc32c is None else Checksums(md5=md5, crc32c=crc32c),
                )
        return known

    def put(self, stored: StoredObject, status: os.stat_result) -> None:
        """Remember an object, which is the file with this status wherever it lies."""
        sums = stored.checksums
        self._database.execute(
            f"INSERT OR REPLACE INTO objects (bucket, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                stored.bucket,
                stored.name,
                stored.generation,
                *_identity(status),
                stored.metageneration,
                stored.created_ns,
                stored.updated_ns,
                json.dumps(stored.fields),
                sums and sums.md5,
                sums and sums.crc32c,
            ),
        )

    def put_all(self, objects: Iterable[tuple[StoredObject, os.stat_result]]) -> None:
        """Remember many objects at once."""
        with self._database:
            self._database.execute("BEGIN")
            for stored, status in objects:
                self.put(stored, status)

    def change(self, stored: StoredObject) -> None:
        """Remember an object's fields and checksums anew."""
        sums = stored.checksums
        self._database.execute(
            "UPDATE objects SET metageneration = ?, updated_ns = ?, fields = ?, md5 = ?, crc32c = ?"
            " WHERE bucket = ? AND name = ? AND generation = ?",
            (
                stored.metageneration,
                stored.updated_ns,
                json.dumps(stored.fields),
                sums and sums.md5,
                sums and sums.crc32c,
                stored.bucket,
                stored.name,
                stored.generation,
            ),
        )

    def keep_only(self, stored: StoredObject) -> None:
        """Forget the other generations of an object."""
        self._database.execute(
            "DELETE FROM objects WHERE bucket = ? AND name = ? AND generation <> ?",
            (stored.bucket, stored.name, stored.generation),
        )

    def forget(self, bucket: str, name: str, generation: int) -> None:
        """Forget an object, but not how far generations had come."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute("UPDATE buckets SET floor = max(floor, ?) WHERE name = ?", (generation, bucket))
            self._database.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    # SQLite's integers are signed; some file systems number their inodes beyond them.
    return status.st_mtime_ns, status.st_size, status.st_ino & (2**63 - 1)
