"""Resumable uploads: sessions that outlive connections, and restarts of the daemon.

Contract: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydag_gcp.local.storage.drafts import Draft
from pydag_gcp.local.storage.stored import Fields, Precondition, StorageError

#: How long Google keeps a session: https://cloud.google.com/storage/docs/resumable-uploads#session-uris
_LIFE_SECONDS = 7 * 24 * 3600

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class UploadNotFound(StorageError, LookupError):
    """There is no such session, or it was cancelled."""

    def __init__(self) -> None:
        super().__init__("The upload session does not exist, has expired or was cancelled; start the upload again.")


class MalformedRange(StorageError, ValueError):
    """A ``Content-Range`` header makes no sense."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Failed to parse Content-Range header {text!r}")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an upload is to become.

    Attributes:
        bucket: The object's bucket.
        name: The object's name.
        fields: The object's fields.
        precondition: What must hold when the upload ends.
        announced: Size and checksums that the bytes are said to have, under the names of the API's resource.
    """

    bucket: str
    name: str
    fields: Fields
    precondition: Precondition
    announced: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ContentRange:
    """Which bytes a request carries.

    Attributes:
        start: The first one's place in the object; None if the request carries none and only asks.
        total: The size of the object; None if it is not known yet.
    """

    start: int | None
    total: int | None

    @classmethod
    def parse(cls, text: str | None) -> ContentRange:
        """Read the header; a request without one carries the whole object.

        Raises:
            MalformedRange: It is not of that form.
        """
        if text is None:
            return cls(start=0, total=None)
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            raise MalformedRange(text)
        first, _, total = match.groups()
        return cls(start=None if first is None else int(first), total=None if total == "*" else int(total))


@dataclass
class Upload:
    """A session.

    Attributes:
        target: What it is to become.
        draft: The bytes so far.
        done: The resource it became.
        lock: Held by whoever writes to it.
    """

    target: Target
    draft: Draft
    done: Mapping[str, Any] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def extend(self, start: int, chunks: Iterable[bytes]) -> None:
        """Take in bytes; those that are there already are passed over, and what arrives before an error is kept.

        Args:
            start: The first byte's place; at most the number of bytes that are there.
            chunks: The bytes.
        """
        try:
            self.draft.extend(_without(chunks, self.draft.size - start))
        except BaseException:
            self.draft = Draft(self.draft.path)  # only the file knows what got into it
            raise


class Uploads:
    """All sessions.

    Args:
        spool: The folder where drafts lie.
    """

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._open: dict[str, Upload] = {}
        self._lock = threading.Lock()
        for file in spool.glob("upload-*"):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < time.time() - _LIFE_SECONDS:
                    file.unlink()

    def start(self, target: Target) -> str:
        """Open a session, and return its id."""
        upload_id = uuid.uuid4().hex
        upload = Upload(target=target, draft=Draft(self._bytes(upload_id)))
        self._save(upload_id, upload)
        with self._lock:
            self._open[upload_id] = upload
        return upload_id

    def get(self, upload_id: str) -> Upload:
        """Return a session, from before a restart too.

        Raises:
            UploadNotFound: There is none of that id.
        """
        with self._lock:
            if upload_id not in self._open:
                self._open[upload_id] = self._load(upload_id)
            return self._open[upload_id]

    def finish(self, upload_id: str, resource: Mapping[str, Any]) -> None:
        """Remember what a session became, for a client that lost the answer."""
        upload = self.get(upload_id)
        upload.done = resource
        self._save(upload_id, upload)

    def cancel(self, upload_id: str) -> None:
        """Forget a session and its bytes.

        Raises:
            UploadNotFound: There is none of that id.
        """
        upload = self.get(upload_id)
        with upload.lock, self._lock:
            self._open.pop(upload_id, None)
            self._note(upload_id).unlink(missing_ok=True)
            upload.draft.discard()

    def _bytes(self, upload_id: str) -> Path:
        return self._spool / f"upload-{upload_id}"

    def _note(self, upload_id: str) -> Path:
        return self._spool / f"upload-{upload_id}.json"

    def _save(self, upload_id: str, upload: Upload) -> None:
        note = self._note(upload_id)
        draft = note.with_suffix(".new")
        draft.write_text(json.dumps({"target": asdict(upload.target), "done": upload.done}))
        draft.replace(note)

    def _load(self, upload_id: str) -> Upload:
        if not re.fullmatch(r"[0-9a-f]{32}", upload_id):
            raise UploadNotFound
        try:
            note = json.loads(self._note(upload_id).read_text())
        except FileNotFoundError:
            raise UploadNotFound from None
        parts = note["target"] | {"precondition": Precondition(**note["target"]["precondition"])}
        return Upload(target=Target(**parts), draft=Draft(self._bytes(upload_id)), done=note["done"])


def _without(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield bytes without the first ``count``."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))
