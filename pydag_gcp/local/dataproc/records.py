"""Resources that survive the daemon: one small file each, written whole or not at all, durable before we answer."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf import json_format

#: A message class of proto-plus or of plain protobuf.
M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Record(Generic[M]):
    """A resource and what its message does not say itself.

    Attributes:
        project: The project it belongs to.
        region: The region it belongs to.
        request_id: The client's ``request_id`` that made it, or an empty string.
        message: The resource.
    """

    project: str
    region: str
    request_id: str = ""
    message: M


class Records(Generic[M]):
    """All stored resources of one kind.

    Args:
        folder: Where their files lie.
        kind: Their message class.
    """

    def __init__(self, folder: Path, kind: type[M]) -> None:
        self._folder = folder
        self._kind: Any = kind
        folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> Iterator[Record[M]]:
        """Yield what is stored."""
        for file in sorted(self._folder.glob("*.json")):
            content = json.loads(file.read_text(encoding="utf-8"))
            message = self._kind()
            json_format.ParseDict(content.pop("message"), _protobuf(self._kind, message))
            yield Record(message=message, **content)

    def save(self, key: str, record: Record[M]) -> None:
        """Store a resource under a key of any text; it is on disk when this returns."""
        content = {
            "project": record.project,
            "region": record.region,
            "request_id": record.request_id,
            "message": json_format.MessageToDict(_protobuf(self._kind, record.message)),
        }
        file = self._file(key)
        draft = file.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as target:
            json.dump(content, target, indent=1)
            target.flush()
            os.fsync(target.fileno())
        draft.replace(file)
        self._sync()

    def forget(self, key: str) -> None:
        """Remove a resource."""
        self._file(key).unlink(missing_ok=True)
        self._sync()

    def _file(self, key: str) -> Path:
        # A hash: names that differ only in case are two on Google's side, and one on some file systems.
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _protobuf(kind: Any, message: Any) -> Any:
    """Return the protobuf message that a proto-plus message wraps."""
    return kind.pb(message) if hasattr(kind, "pb") else message
