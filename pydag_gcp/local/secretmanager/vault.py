"""Where secrets lie: one file each, for its owner's eyes only, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.cloud import secretmanager_v1
from google.protobuf import json_format


@dataclass(kw_only=True)
class Version:
    """A version and what it holds; the payload of a destroyed one is empty."""

    message: secretmanager_v1.SecretVersion
    payload: bytes


@dataclass(kw_only=True)
class Stored:
    """A secret and its versions, oldest first: the number of each is its place, from 1."""

    message: secretmanager_v1.Secret
    versions: list[Version] = field(default_factory=list)


class Vault:
    """The secrets of a local cloud, in files.

    Args:
        folder: Where they lie; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        #: Held from reading what is to be changed until it is written.
        self.lock = threading.RLock()

    def all(self) -> list[Stored]:
        """Everything there is, newest first."""
        with self.lock:
            found = [_read(file) for file in self._folder.glob("*.json")]
        return sorted(found, key=lambda stored: (stored.message.create_time, stored.message.name), reverse=True)

    def get(self, name: str) -> Stored | None:
        """The secret of a full name, or None."""
        try:
            return _read(self._file(name))
        except FileNotFoundError:
            return None

    def put(self, stored: Stored) -> None:
        """Keep a secret; it is on disk when this returns."""
        file = self._file(stored.message.name)
        draft = file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as target:
            json.dump(_to_json(stored), target, indent=1)
            target.flush()
            os.fsync(target.fileno())
        draft.replace(file)

    def remove(self, name: str) -> None:
        """Drop a secret with all its versions."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        # A hash: names that differ only in case are two on Google's side, and one on some file systems.
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _read(file: Path) -> Stored:
    content = json.loads(file.read_text(encoding="utf-8"))
    return Stored(
        message=_parsed(secretmanager_v1.Secret, content["secret"]),
        versions=[
            Version(
                message=_parsed(secretmanager_v1.SecretVersion, each["version"]), payload=b64decode(each["payload"])
            )
            for each in content["versions"]
        ],
    )


def _to_json(stored: Stored) -> dict[str, Any]:
    return {
        "secret": _fields(stored.message),
        "versions": [
            {"version": _fields(version.message), "payload": b64encode(version.payload).decode()}
            for version in stored.versions
        ],
    }


def _fields(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(type(message).pb(message))


def _parsed(kind: Any, fields: dict[str, Any]) -> Any:
    message = kind()
    json_format.ParseDict(fields, kind.pb(message))
    return message
