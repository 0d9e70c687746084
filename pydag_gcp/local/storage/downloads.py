"""An object's bytes as an answer: whole, a range of them, or unpacked.

Contract: https://cloud.google.com/storage/docs/json_api/v1/parameters#range and
https://cloud.google.com/storage/docs/transcoding
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.http import ApiError, not_implemented
from pydag_gcp.local.storage.drafts import BLOCK, Checksums, blocks
from pydag_gcp.local.storage.objects import Opened, StoredObject
from pydag_gcp.local.storage.resources import object_etag

#: Fields that come back as headers.
_HEADERS = {
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
    "contentType": "Content-Type",
}


def contents(request: Request, opened: Opened, checksums: Checksums) -> Response:
    """Answer with an object's bytes, or those that the ``Range`` header asks for; its file must stay open till then.

    Raises:
        ApiError: There are no such bytes, or more than one range is asked for.
    """
    stored = opened.stored
    headers = _headers(stored, checksums)
    if stored.fields.get("contentEncoding") == "gzip" and "gzip" not in request.headers.get("Accept-Encoding", ""):
        # The length is not known then, and a range is ignored.
        del headers["Content-Encoding"]
        headers["Warning"] = "214 UploadServer gunzipped"
        return Response(_gunzipped(opened.file), headers=headers)
    try:
        span = Span.of(request.headers.get("Range"), stored.size)
    except UnsatisfiableRange as error:
        response = ApiError(416, "requestedRangeNotSatisfiable", str(error)).response()
        response.headers["Content-Range"] = f"bytes */{stored.size}"
        return response
    opened.file.seek(span.start)
    headers["Content-Length"] = str(span.length)
    if span.is_part:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{stored.size}"
    return Response(blocks(opened.file, span.length), status=206 if span.is_part else 200, headers=headers)


class UnsatisfiableRange(ValueError):
    """An object has none of the bytes that a range asks for."""

    def __init__(self) -> None:
        super().__init__("Request range not satisfiable")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Some of an object's bytes.

    Attributes:
        start: The first one's place.
        length: Their number.
        is_part: Whether a range was asked for, even if it is all of them.
    """

    start: int
    length: int
    is_part: bool

    @classmethod
    def of(cls, header: str | None, size: int) -> Span:
        """Read a ``Range`` header; one that is not of the right form asks for everything, as RFC 9110 says.

        Raises:
            UnsatisfiableRange: There are no such bytes.
            ApiError: It has more than one range.
        """
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").replace(" ", ""))
        if match is None or match.groups() == ("", ""):
            if "," in (header or ""):
                raise not_implemented("downloads of more than one range")
            return cls(start=0, length=size, is_part=False)
        first, last = match.groups()
        if not first:  # the last so many bytes
            start, end = max(0, size - int(last)), size
        else:
            start, end = int(first), min(size, int(last) + 1) if last else size
        if start >= end:
            raise UnsatisfiableRange
        return cls(start=start, length=end - start, is_part=True)


def _headers(stored: StoredObject, checksums: Checksums) -> dict[str, str]:
    hashes = [f"crc32c={checksums.crc32c}"]
    if "componentCount" not in stored.fields:
        hashes.append(f"md5={checksums.md5}")
    fields = {"contentType": stored.content_type, **stored.fields}
    return {
        **{header: _header(fields[key]) for key, header in _HEADERS.items() if key in fields},
        "Accept-Ranges": "bytes",
        "ETag": object_etag(stored),
        "X-Goog-Generation": str(stored.generation),
        "X-Goog-Hash": ",".join(hashes),
        "X-Goog-Metageneration": str(stored.metageneration),
        "X-Goog-Storage-Class": _header(fields.get("storageClass", "STANDARD")),
        "X-Goog-Stored-Content-Encoding": _header(fields.get("contentEncoding", "identity")),
        "X-Goog-Stored-Content-Length": str(stored.size),
    }


def _header(value: object) -> str:
    """Return a value that can be sent as a header: bytes of UTF-8, in one line."""
    return " ".join(str(value).split("\n")).replace("\r", " ").encode().decode("latin-1")


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    for block in blocks(file):
        data = unpacking.decompress(block, BLOCK)
        while data:
            yield data
            data = unpacking.decompress(unpacking.unconsumed_tail, BLOCK)
