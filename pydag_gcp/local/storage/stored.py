"""What a bucket and an object are, what can be asked of them first, and what can be wrong with them.

::

    StorageError
    ├── BucketNotFound, ObjectNotFound     also LookupError
    ├── BucketExists, BucketNotEmpty
    ├── InvalidName, InvalidContent        also ValueError
    └── PreconditionFailed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydag_gcp.local.storage.drafts import Checksums

Fields = Mapping[str, Any]

OCTETS = "application/octet-stream"


class StorageError(Exception):
    """Something about a bucket or an object is wrong; the message is Google's."""


class BucketNotFound(StorageError, LookupError):
    """There is no such bucket."""

    def __init__(self, bucket: str) -> None:
        super().__init__("The specified bucket does not exist.")
        self.bucket = bucket


class ObjectNotFound(StorageError, LookupError):
    """There is no such object, or not in that generation."""

    def __init__(self, bucket: str, name: str) -> None:
        super().__init__(f"No such object: {bucket}/{name}")
        self.bucket = bucket
        self.name = name


class BucketExists(StorageError):
    """The bucket's name is taken."""

    def __init__(self) -> None:
        super().__init__("Your previous request to create the named bucket succeeded and you already own it.")


class BucketNotEmpty(StorageError):
    """A bucket that is to be deleted has objects."""

    def __init__(self) -> None:
        super().__init__("The bucket you tried to delete is not empty.")


class InvalidName(StorageError, ValueError):
    """No bucket or object can have that name."""


class InvalidContent(StorageError, ValueError):
    """The bytes that arrived are not those that were announced."""


class PreconditionFailed(StorageError):
    """The object or bucket is not in the state that the request presupposes."""

    def __init__(self) -> None:
        super().__init__("At least one of the pre-conditions you specified did not hold.")


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket.

    Attributes:
        name: Its name.
        project: The project it was created in; None if its folder was made by hand.
        created_ns: When, in nanoseconds since the epoch; ``updated_ns`` likewise.
        metageneration: Counts the changes of its fields, from 1.
        fields: The rest, under the names of the API's resource.
    """

    name: str
    project: str | None = None
    created_ns: int
    updated_ns: int
    metageneration: int = 1
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One generation of an object.

    Attributes:
        bucket: Its bucket.
        name: Its name.
        path: The file that holds its bytes, until the object is replaced or deleted.
        size: Their number.
        generation: Changes whenever the bytes are written, and only grows.
        metageneration: Counts the changes of its fields in this generation, from 1.
        created_ns: When it was written, in nanoseconds since the epoch.
        updated_ns: When its fields were last changed.
        fields: The rest, under the names of the API's resource, such as ``contentType`` and ``metadata``.
        checksums: None until someone asks (``Objects.checksums``), if another process wrote the file.
    """

    bucket: str
    name: str
    path: Path
    size: int
    generation: int
    metageneration: int = 1
    created_ns: int
    updated_ns: int
    fields: Fields = field(default_factory=dict)
    checksums: Checksums | None = None

    @property
    def uri(self) -> str:
        """The ``gs://`` name."""
        return f"gs://{self.bucket}/{self.name}"

    @property
    def content_type(self) -> str:
        """The media type it was given."""
        return str(self.fields.get("contentType", OCTETS))

    @property
    def metadata(self) -> Mapping[str, str]:
        """The author's own fields."""
        metadata: Mapping[str, str] = self.fields.get("metadata", {})
        return metadata


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An object and its bytes, which stay what they are even if the object is replaced meanwhile."""

    stored: StoredObject
    file: BinaryIO


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """What must hold for a request to be carried out.

    Contract: https://cloud.google.com/storage/docs/request-preconditions

    Attributes:
        generation: The live generation; 0 means that there must be no object.
        not_generation: What the live generation must not be; 0 means that there must be an object.
        metageneration: The live metageneration.
        not_metageneration: What the live metageneration must not be.
    """

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    def check(self, current: StoredObject | Bucket | None) -> None:
        """Compare with what is there.

        Raises:
            PreconditionFailed: It does not hold.
        """
        if not (self.matches(current) and self.differs(current)):
            raise PreconditionFailed

    def matches(self, current: StoredObject | Bucket | None) -> bool:
        """Tell whether the ``if...Match`` half holds."""
        generation, metageneration = _generations(current)
        return self.generation in {None, generation} and self.metageneration in {None, metageneration}

    def differs(self, current: StoredObject | Bucket | None) -> bool:
        """Tell whether the ``if...NotMatch`` half holds."""
        generation, metageneration = _generations(current)
        return self.not_generation != generation and (
            self.not_metageneration is None or self.not_metageneration != metageneration
        )


#: Asks nothing.
ALWAYS = Precondition()


def _generations(current: StoredObject | Bucket | None) -> tuple[int, int]:
    if current is None:
        return 0, 0
    return (current.generation if isinstance(current, StoredObject) else 0), current.metageneration
