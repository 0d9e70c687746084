"""An object in the making: bytes in a spool file, counted and summed as they arrive."""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

import google_crc32c

#: How much is read or written at once, in bytes: what bounds the memory of any transfer.
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Checksums:
    """An object's checksums, in base64 as the API carries them.

    Contract: https://cloud.google.com/storage/docs/data-validation
    """

    md5: str
    crc32c: str


class Summing:
    """Both checksums of bytes that pass by."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._md5.update(data)
        self._crc32c = google_crc32c.extend(self._crc32c, data)

    def result(self) -> Checksums:
        """Return the checksums of all bytes so far."""
        return Checksums(md5=_text(self._md5.digest()), crc32c=_text(self._crc32c.to_bytes(4, "big")))


class Draft:
    """A spool file that will become an object, or vanish.

    Args:
        path: The file; it is made if it is not there, and what is in it already counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._summing = Summing()
        path.touch()
        with path.open("rb") as file:
            for block in blocks(file):
                self._count(block)

    @classmethod
    def new(cls, spool: Path, chunks: Iterable[bytes] = ()) -> Self:
        """Make a draft of these bytes; nothing is left behind if they cannot be had."""
        draft = cls(spool / f"draft-{uuid.uuid4().hex}")
        try:
            draft.extend(chunks)
        except BaseException:
            draft.discard()
            raise
        return draft

    @property
    def checksums(self) -> Checksums:
        """The checksums of all bytes so far."""
        return self._summing.result()

    def extend(self, chunks: Iterable[bytes]) -> None:
        """Append bytes; those that arrived before an error are kept."""
        with self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                self._count(chunk)

    def discard(self) -> None:
        """Remove the file, if it did not become an object."""
        self.path.unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self._summing.update(chunk)
        self.size += len(chunk)


def blocks(file: IO[bytes], length: int | None = None) -> Iterator[bytes]:
    """Yield what is left of a stream, or its next bytes, in pieces of bounded size.

    Args:
        file: The stream.
        length: How many bytes at most; None for all.
    """
    while block := file.read(BLOCK if length is None else min(BLOCK, length)):
        yield block
        if length is not None:
            length -= len(block)


def arrivals(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield a request's body as it arrives, so that what came before a broken connection is not lost with it."""
    reader = cast("io.BufferedReader", stream)
    while block := reader.read1(BLOCK):
        yield block


def checksums_of(file: IO[bytes]) -> Checksums:
    """Return the checksums of a stream's bytes."""
    summing = Summing()
    for block in blocks(file):
        summing.update(block)
    return summing.result()


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
