"""Files that come along with load jobs: multipart and resumable uploads into the spool.

Reference: https://cloud.google.com/bigquery/docs/reference/api-uploads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.http import ApiError, json_body, json_response

_CHUNK = 1 << 20
_LIFE = 7 * 24 * 60 * 60
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
#: Makes the job of a resource and the path of its complete file.
Accept = Callable[[Mapping[str, Any], str], Mapping[str, Any]]


class JobUploads:
    """Uploads under way, and files waiting for their job.

    Args:
        spool: The folder they lie in.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool / "uploads"
        self._spool.mkdir(parents=True, exist_ok=True)

    def multipart(self, request: Request) -> tuple[Mapping[str, Any], str]:
        """Take a ``multipart/related`` body: the job, then the file.

        Raises:
            ApiError: 400: the body is not of that form.
        """
        match = re.search(r'boundary="?([^";,]+)"?', request.content_type or "")
        if not match:
            raise ApiError(400, "badContent", "A multipart upload needs a boundary in its Content-Type")
        boundary = b"--" + match[1].encode()
        path = self._spool / uuid.uuid4().hex
        with path.open("w+b") as whole:
            shutil.copyfileobj(request.stream, whole, _CHUNK)
            resource = _split(whole, boundary)
            _keep(whole)
        return resource, str(path)

    def begin(self, request: Request, project: str) -> Response:
        """Begin a resumable upload: keep the job, tell where to send the file."""
        upload_id = uuid.uuid4().hex
        resource = json_body(request)
        (self._spool / upload_id).touch()
        self._note(upload_id).write_text(json.dumps({"resource": resource}))
        place = f"{request.host_url}upload/bigquery/v2/projects/{project}/jobs"
        response = Response(status=200)
        response.headers["Location"] = f"{place}?uploadType=resumable&upload_id={upload_id}"
        response.headers["X-GUploader-UploadID"] = upload_id
        response.autocorrect_location_header = False
        return response

    def part(self, request: Request, accept: Accept) -> Response:
        """Take the next part of a file; the last one makes the job, and is answered with it.

        Raises:
            ApiError: 404: there is no such upload; 400: the part does not fit.
        """
        upload_id = request.args.get("upload_id", "")
        note = self._note(upload_id)
        if not re.fullmatch("[0-9a-f]{32}", upload_id) or not note.exists():
            raise ApiError(404, "notFound", f"Not found: upload {upload_id}")
        kept = json.loads(note.read_text())
        if "answer" in kept:
            return json_response(kept["answer"])
        path = self._spool / upload_id
        start, total = _range(request)
        have = path.stat().st_size
        if start is not None:
            have = _append(path, start, request.stream)
        if total is None or have < total:
            return _incomplete(have)
        answer = accept(kept["resource"], str(path))
        note.write_text(json.dumps({"answer": answer}))
        return json_response(answer)

    def drop_abandoned(self) -> None:
        """Throw away uploads that nobody has gone on with for a week, which is how long BigQuery keeps them."""
        for path in self._spool.iterdir():
            if path.stat().st_mtime < time.time() - _LIFE:
                path.unlink(missing_ok=True)

    def _note(self, upload_id: str) -> Path:
        return self._spool / f"{upload_id}.json"


def _range(request: Request) -> tuple[int | None, int | None]:
    """Return where a part starts (None: only a question) and how long the file is (None: not known yet)."""
    header = request.headers.get("Content-Range")
    if header is None:
        return 0, request.content_length
    match = _RANGE.fullmatch(header)
    if not match:
        raise ApiError(400, "invalid", f"Invalid Content-Range: {header}")
    start, _, total = match.groups()
    return None if start is None else int(start), None if total == "*" else int(total)


def _append(path: Path, start: int, stream: Any) -> int:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if start > size:
            raise ApiError(400, "invalid", f"The part starts at byte {start}, but only {size} bytes have come")
        file.seek(start)
        shutil.copyfileobj(stream, file, _CHUNK)
        file.truncate()
        size = file.tell()
        _keep(file)
    return size


def _incomplete(have: int) -> Response:
    response = Response(status=308)
    if have:
        response.headers["Range"] = f"bytes=0-{have - 1}"
    return response


def _keep(file: BinaryIO) -> None:
    """Make a file's bytes durable: its job is accepted on the promise that they are there."""
    file.flush()
    os.fsync(file.fileno())


def _split(whole: BinaryIO, boundary: bytes) -> Mapping[str, Any]:
    """Cut a multipart body down, in place, to the bytes of its second part; return its first part."""
    whole.seek(0)
    if whole.readline().rstrip() != boundary:
        raise ApiError(400, "badContent", "The multipart body does not start with its boundary")
    _skip_headers(whole)
    lines = []
    while (line := whole.readline()).rstrip() != boundary:
        if not line:
            raise ApiError(400, "badContent", "The multipart body ends within its first part")
        lines.append(line)
    resource: Mapping[str, Any] = json.loads(b"".join(lines))
    _skip_headers(whole)
    start, end = whole.tell(), _end(whole, boundary)
    target = 0
    while start < end:
        whole.seek(start)
        chunk = whole.read(min(_CHUNK, end - start))
        whole.seek(target)
        whole.write(chunk)
        start, target = start + len(chunk), target + len(chunk)
    whole.truncate(target)
    return resource


def _skip_headers(whole: BinaryIO) -> None:
    while whole.readline().strip():
        pass


def _end(whole: BinaryIO, boundary: bytes) -> int:
    """Return where the last part ends: before the line break in front of the closing boundary."""
    size = whole.seek(0, os.SEEK_END)
    reach = min(size, len(boundary) + 64)
    whole.seek(size - reach)
    at = whole.read(reach).rfind(boundary + b"--")
    if at < 0:
        raise ApiError(400, "badContent", "The multipart body does not end with its boundary")
    whole.seek(size - reach + at - 2)
    return size - reach + at - (2 if whole.read(2) == b"\r\n" else 1)
