"""Files of a job that lie on this machine, copied to a bucket once per content."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.gcp import ONCE
from pydag_gcp.operator import Context
from pydag_gcp.operators.submission import refusals

#: Larger files are not kept in memory between planning and submit, in bytes.
MOST_KEPT = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file on this machine, as it was when it was looked at.

    Attributes:
        path: Where it lies.
        digest: SHA-256 of its content, in hexadecimal.
        kept: Its content, or None if it is too large to keep.
    """

    path: Path
    digest: str
    kept: bytes | None = field(repr=False)

    @property
    def address(self) -> str:
        """The name of its copy in any bucket, which follows from what it holds."""
        return f"pydag/{self.digest}/{self.path.name}"

    @property
    def content(self) -> bytes:
        """What it held when it was looked at.

        Raises:
            TaskError: It was not kept, and the file is another one now.
        """
        if self.kept is not None:
            return self.kept
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise TaskError(f"file {self.path.name!r} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise TaskError(f"file {self.path.name!r} changed after the run was planned", hint="start a new run")
        return content


def is_remote(name: str) -> bool:
    """Whether the cluster can read it as it is: ``gs://``, ``hdfs://``, ``file://`` (on the cluster)..."""
    return "://" in name


def find_file(name: str, *, folder: Path, where: str) -> Path:
    """Find a file, relative to the pipeline file's folder.

    Raises:
        DefinitionError: There is none.
    """
    path = folder / Path(name).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DefinitionError(f"file {name!r} {what}", where=where, hint=f"looked for {path}")
    return path


def look_at(name: str, *, folder: Path, where: str) -> LocalFile:
    """Find a file, relative to the pipeline file's folder, and fix what it holds.

    Raises:
        DefinitionError: There is none, or it cannot be read.
    """
    path = find_file(name, folder=folder, where=where)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            kept = None
            if file.tell() <= MOST_KEPT:
                file.seek(0)
                kept = file.read()
                digest = hashlib.sha256(kept).hexdigest()
    except OSError as error:
        raise DefinitionError(f"file {name!r} cannot be read: {error.strerror}", where=where) from error
    return LocalFile(path=path, digest=digest, kept=kept)


def stage(ctx: Context, file: LocalFile, bucket: str) -> str:
    """Copy a file to ``gs://<bucket>/pydag/<sha256>/<name>`` unless it is there; return that address.

    The name follows from the content, so what is there need never be replaced: the upload's precondition is that there
    is no such object (https://cloud.google.com/storage/docs/request-preconditions).

    Raises:
        TaskError: Cloud Storage refused, or a large file changed meanwhile.
    """
    from google.api_core.exceptions import PreconditionFailed

    blob = ctx.clients.storage().bucket(bucket).blob(file.address)
    with refusals(f"file {file.path.name!r} cannot be copied to gs://{bucket}"):
        if not blob.exists(**ONCE):
            with contextlib.suppress(PreconditionFailed):  # another task copied it in this moment
                blob.upload_from_string(
                    file.content,
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    **ONCE,
                )
    return f"gs://{bucket}/{file.address}"
