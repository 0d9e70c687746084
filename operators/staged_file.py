"""Files of a job that lie on this machine, copied to a bucket once per content."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from pydag_gcp.errors import DefinitionError
from pydag_gcp.gcp import CALL_TIMEOUT
from pydag_gcp.operator import Context
from pydag_gcp.operators.submission import refusals


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


def stage(ctx: Context, path: Path, bucket: str) -> str:
    """Copy a file to ``gs://<bucket>/pydag/<sha256>/<name>`` unless it is there; return that address.

    The name follows from the content, so what is there need never be replaced: the upload's precondition is that there
    is no such object (https://cloud.google.com/storage/docs/request-preconditions).

    Raises:
        TaskError: Cloud Storage refused.
    """
    from google.api_core.exceptions import PreconditionFailed

    content = path.read_bytes()
    name = f"pydag/{hashlib.sha256(content).hexdigest()}/{path.name}"
    blob = ctx.clients.storage().bucket(bucket).blob(name)
    with refusals(f"file {path.name!r} cannot be copied to gs://{bucket}"):
        if not blob.exists(retry=None, timeout=CALL_TIMEOUT):
            with contextlib.suppress(PreconditionFailed):  # another task copied it in this moment
                blob.upload_from_string(
                    content,
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    retry=None,
                    timeout=CALL_TIMEOUT,
                )
    return f"gs://{bucket}/{name}"
