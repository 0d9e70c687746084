"""The files of a load job, and the errors that name a row in one of them."""

from __future__ import annotations

import gzip
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydag_gcp.local.bigquery.job import Job, JobError
from pydag_gcp.local.storage.objects import BucketNotFound, InvalidName, ObjectNotFound, Objects

_GZIP = b"\x1f\x8b"
#: Characters that DuckDB would take for a pattern in the name of a file.
_PATTERN = set("*?[]{}")
_PREFIX = "Error while reading data, error message: "
#: How much of a bad row an error shows.
_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file.

    Attributes:
        uri: What to call it; None: it came with the request.
        path: Where its bytes are.
    """

    uri: str | None
    path: Path

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.path.stat().st_size

    @contextmanager
    def plain(self, spool: Path) -> Iterator[Path]:
        """Yield the path of the file's content, decompressed if it is gzip, under a name without surprises."""
        scratch = spool / f"source-{uuid.uuid4().hex}"
        with self.path.open("rb") as file:
            packed = file.read(2) == _GZIP
        try:
            if packed:
                with gzip.open(self.path) as content, scratch.open("wb") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)
            elif _PATTERN & set(str(self.path)):
                scratch.symlink_to(self.path.absolute())
            yield scratch if packed or scratch.is_symlink() else self.path
        except (gzip.BadGzipFile, EOFError) as error:
            raise self.error(f"The file is not a complete gzip file: {error}") from None
        finally:
            scratch.unlink(missing_ok=True)

    def error(self, message: str) -> JobError:
        """Return an error that names this file."""
        return JobError("invalid", f"{_PREFIX}{message}{self.place}", location=self.uri)

    @property
    def place(self) -> str:
        """How messages name it."""
        return f" File: {self.uri}" if self.uri else ""


def sources_of(job: Job, objects: Objects) -> Sequence[Source]:
    """Return the files of a load job.

    Raises:
        JobError: There is no such object, or nothing matches.
    """
    if job.upload is not None:
        return [Source(uri=None, path=Path(job.upload))]
    found: dict[str, Source] = {}
    for uri in job.options["sourceUris"]:
        try:
            matching = objects.match(uri)
        except (BucketNotFound, ObjectNotFound):
            matching = []
        except InvalidName as error:
            raise JobError("invalid", str(error), location=uri) from None
        if not matching:
            raise JobError("notFound", f"Not found: URI {uri}", location=uri)
        for stored in matching:
            name = f"gs://{stored.bucket}/{stored.name}"
            found[name] = Source(uri=name, path=stored.path)
    return list(found.values())


@dataclass
class BadRows:
    """The rows of a load job that cannot be read, and how many there may be.

    Attributes:
        what: What the files hold: ``CSV`` or ``JSON``.
        most: The job's maxBadRecords.
        rows: How many rows have been read so far, good and bad.
    """

    what: str
    most: int
    rows: int = 0
    errors: list[JobError] = field(default_factory=list)
    count: int = 0

    def add(self, source: Source, message: str, *, row: str, number: int) -> None:
        """Record a bad row.

        Args:
            source: Its file.
            message: What is wrong with it, and where in the file.
            row: Its text.
            number: Which row of the file it is, from 1, skipped ones counted.

        Raises:
            JobError: There are too many.
        """
        shown = row if len(row) <= _SHOWN else row[:_SHOWN] + "..."
        self.count += 1
        text = f"{_PREFIX}{message}{source.place}; row {number}: {shown!r}"
        if len(self.errors) < 100:
            self.errors.append(JobError("invalid", text, location=source.uri))
        if self.count > self.most:
            raise self._too_many(source)

    def _too_many(self, source: Source) -> JobError:
        counts = f"Rows: {max(self.rows, 1)}; errors: {self.count}"
        message = (
            f"{_PREFIX}{self.what} table encountered too many errors, giving up. {counts}. Please look into the "
            f"errors[] collection for more details.{source.place}"
        )
        total = JobError(
            "invalid",
            f"{_PREFIX}{self.what} processing encountered too many errors, giving up. {counts}; max bad: {self.most}; "
            "error percent: 0",
        )
        return JobError("invalid", message, location=source.uri, details=(total, *self.errors))
