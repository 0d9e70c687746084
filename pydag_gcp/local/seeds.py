"""Copy a folder of sample buckets into Cloud Storage, through its API; imports nothing that is not cheap."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pydag_gcp.errors import LocalCloudError

_TIMEOUT = 60.0


def plant(seed: Path, *, storage: str, project: str) -> int:
    """Make each sub-folder of a folder a bucket that has its files; what is already there and equal is left alone.

    Args:
        seed: The folder.
        storage: The URL of the storage API.
        project: The project that new buckets belong to.

    Returns:
        How many objects were written.

    Raises:
        LocalCloudError: The folder cannot be read, or the storage API refuses.
    """
    if not seed.is_dir():
        raise LocalCloudError("the seed is not a folder", where=str(seed), hint="each of its sub-folders is a bucket")
    parts = urlsplit(storage)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    try:
        return sum(
            _plant_bucket(connection, folder, project)
            for folder in sorted(seed.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        )
    except (OSError, HTTPException) as error:
        raise LocalCloudError(f"the seed could not be copied: {error}", where=str(seed)) from error
    finally:
        connection.close()


def _plant_bucket(connection: HTTPConnection, folder: Path, project: str) -> int:
    bucket = folder.name
    _call(connection, "POST", f"/storage/v1/b?{urlencode({'project': project})}", {"name": bucket}, accepted=(409,))
    present = dict(_present(connection, bucket))
    written = 0
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if present.get(name) != _md5(file):
            _upload(connection, bucket, name, file)
            written += 1
    return written


def _present(connection: HTTPConnection, bucket: str) -> Iterator[tuple[str, str]]:
    """Yield the names and MD5 hashes of a bucket's objects."""
    token = ""
    while True:
        query = urlencode({"fields": "items(name,md5Hash),nextPageToken", "pageToken": token})
        page = _call(connection, "GET", f"/storage/v1/b/{bucket}/o?{query}")
        yield from ((item["name"], item.get("md5Hash", "")) for item in page.get("items", ()))
        token = page.get("nextPageToken", "")
        if not token:
            return


def _upload(connection: HTTPConnection, bucket: str, name: str, file: Path) -> None:
    query = urlencode({"uploadType": "media", "name": name}, quote_via=quote)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    with file.open("rb") as body:
        headers = {"Content-Type": kind, "Content-Length": str(file.stat().st_size)}
        connection.request("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", body, headers)
        _answer(connection, f"gs://{bucket}/{name}", ())


def _call(
    connection: HTTPConnection, verb: str, target: str, body: object = None, *, accepted: tuple[int, ...] = ()
) -> Mapping[str, Any]:
    text = None if body is None else json.dumps(body)
    connection.request(verb, target, text, {} if body is None else {"Content-Type": "application/json"})
    return _answer(connection, target, accepted)


def _answer(connection: HTTPConnection, what: str, accepted: tuple[int, ...]) -> Mapping[str, Any]:
    response = connection.getresponse()
    answer: Mapping[str, Any] = json.loads(response.read() or b"{}")
    if response.status >= 400 and response.status not in accepted:
        raise LocalCloudError(f"the seed could not be copied: {answer['error']['message']}", where=what)
    return answer


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()
