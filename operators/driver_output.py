"""What the driver of a Dataproc job printed.

Objects ``<driver_output_resource_uri>.000000000`` and on: https://cloud.google.com/dataproc/docs/guides/dataproc-job-output
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydag_gcp.gcp import CALL_TIMEOUT
from pydag_gcp.operator import Context
from pydag_gcp.operators.submission import one_line, said
from pydag_gcp.resources import GCSObject

if TYPE_CHECKING:
    from google.api_core.retry import Retry

#: Of longer output the end is taken, in bytes.
LONGEST_OUTPUT = 8 * 1024 * 1024
#: Seconds for which a read that fails for now is made again.
PATIENCE = 10.0
#: Lines that an error repeats, and their longest sum, in characters.
_LAST_LINES, _LONGEST_TAIL = 12, 2000

# Frames of the Java virtual machine and Spark's chatter say nothing of the cause.
_FRAME = re.compile(r'\s+File "(?P<file>[^"]+)", line (?P<line>\d+)')
_LIBRARY = re.compile(r"site-packages|/pyspark/|/py4j|/lib/python|^<")
_NOISE = re.compile(
    r"\s*at [\w$.<>/@-]+\(.*\)|\s*\.\.\. \d+ more|\d\d/\d\d/\d\d \d\d:\d\d:\d\d (?:INFO|WARN|DEBUG) .*|\s*"
)


def copy_to_log(ctx: Context, uri: str) -> str:
    """Write a job's driver output to the task's log, line by line, and return its last lines, folded into one.

    All of it is read before the first line is logged. Output that cannot be read is reported in the log: whatever the
    reason, it must not hide how the job ended.
    """
    if not uri.startswith("gs://"):
        return ""
    try:
        lines = list(_lines(ctx, GCSObject(uri)))
    except Exception as error:  # noqa: BLE001 - buckets fail in many ways, and none of them is the job's
        ctx.log.warning("driver output %s cannot be read: %s", uri, said(error))
        return ""
    tail = Tail()
    for line in lines:
        ctx.log.info("%s", line)
        tail.add(line)
    return str(tail)


class Tail:
    """The last lines that say something, as one line.

    A Python traceback makes what came before unimportant; of itself the error remains, behind the last place in the
    author's own code: ``job.py:12: ValueError: ...``.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._in_traceback = False
        self._place = ""

    def add(self, line: str) -> None:
        """Take in the next line."""
        if line.startswith("Traceback (most recent call last)"):
            self._in_traceback, self._place = True, ""
        elif self._in_traceback and (not line or line[0].isspace()):
            frame = _FRAME.match(line)
            if frame and not _LIBRARY.search(frame["file"]):
                self._place = f"{PurePosixPath(frame['file']).name}:{frame['line']}: "
        elif not _NOISE.fullmatch(line):
            if self._in_traceback:
                self._lines.clear()
                line = self._place + line
            self._lines.append(one_line(line))
            self._in_traceback = False

    def __str__(self) -> str:
        text = " | ".join(self._lines)
        return text if len(text) <= _LONGEST_TAIL else f"...{text[-_LONGEST_TAIL:]}"


def _lines(ctx: Context, output: GCSObject) -> Iterator[str]:
    rest = b""
    for block in _blocks(ctx, output):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield _text(line)
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


def _blocks(ctx: Context, output: GCSObject) -> Iterator[bytes]:
    bucket = ctx.clients.storage().bucket(output.bucket)
    retry = _retry()
    blobs = list(bucket.list_blobs(prefix=output.name, retry=retry, timeout=CALL_TIMEOUT))
    skip = sum(blob.size for blob in blobs) - LONGEST_OUTPUT
    if skip > 0:
        ctx.log.info("%s", f"(the first {skip} bytes of the driver output are left out; all of it is at {output}*)")
    for blob in blobs:
        start, skip = max(0, skip), skip - blob.size
        if start < blob.size:
            yield blob.download_as_bytes(start=start, retry=retry, timeout=CALL_TIMEOUT)


def _retry() -> Retry:
    from google.cloud.storage.retry import DEFAULT_RETRY

    retry: Retry = DEFAULT_RETRY.with_timeout(PATIENCE)
    return retry
