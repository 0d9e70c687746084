"""Bodies of several parts, read as they arrive.

Contract: https://www.rfc-editor.org/rfc/rfc2046#section-5.1, as
https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import IO

from werkzeug.http import parse_options_header

from pydag_gcp.local.storage.drafts import BLOCK


class MalformedBody(ValueError):
    """A body is not made of the parts that its content type announces."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part.

    Attributes:
        headers: Its headers, names in lower case.
        chunks: Its bytes; they must be read before the next part is asked for.
    """

    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def parts(stream: IO[bytes], content_type: str) -> Iterator[Part]:
    """Yield the parts of a body.

    Args:
        stream: The body.
        content_type: What its header says, boundary and all.

    Raises:
        MalformedBody: It has no boundary, or ends before the last one.
    """
    boundary = parse_options_header(content_type)[1].get("boundary")
    if not boundary:
        raise MalformedBody(f"the content type {content_type!r} names no boundary")
    reader = _Reader(stream, b"--" + boundary.encode())
    for _ in reader.chunks():
        pass  # what comes before the first boundary means nothing
    while reader.more():
        headers = BytesHeaderParser().parsebytes(reader.headers())
        yield Part(headers={name.lower(): value for name, value in headers.items()}, chunks=reader.chunks())


class _Reader:
    def __init__(self, stream: IO[bytes], delimiter: bytes) -> None:
        self._stream = stream
        self._boundary = delimiter
        self._line_break = b"\n"
        self._buffer = b"\n"  # so that a boundary at the very beginning is found like any other

    def chunks(self) -> Iterator[bytes]:
        """Yield what comes before the next boundary, and step over that."""
        delimiter = self._line_break + self._boundary  # the line break before a boundary belongs to it
        keep = len(delimiter)
        while (end := self._buffer.find(delimiter)) < 0:
            if len(self._buffer) > keep:
                yield self._buffer[:-keep]
                self._buffer = self._buffer[-keep:]
            self._fill()
        data, self._buffer = self._buffer[:end], self._buffer[end + len(delimiter) :]
        if data:
            yield data

    def more(self) -> bool:
        """Tell whether a part follows the boundary that was just read."""
        while len(self._buffer) < 2:
            self._fill()
        return not self._buffer.startswith(b"--")

    def headers(self) -> bytes:
        """Return a part's headers, and step over the empty line that ends them."""
        # Python's own email package, which the storage client's batches are made with, breaks lines with \n alone.
        self._line_break = b"\r\n" if self._line().endswith(b"\r\n") else b"\n"
        lines = []
        while (line := self._line()).strip():
            lines.append(line)
        return b"".join(lines)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > BLOCK:
                raise MalformedBody("a header is too long")
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def _fill(self) -> None:
        block = self._stream.read(BLOCK)
        if not block:
            raise MalformedBody("it ends before its last boundary")
        self._buffer += block
