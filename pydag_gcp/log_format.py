"""What is logged as lines of JSON, the way Cloud Logging takes them from a container's stderr.

Everything becomes such lines: what happens in a run, what its tasks log, and whatever else is printed to stderr.
https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TextIO

from pydag_gcp.streams import discard

JSON = "json"

#: Characters of one message; Cloud Logging takes entries of 256 KiB (https://cloud.google.com/logging/quotas).
LONGEST = 100_000

_SPECIAL = "logging.googleapis.com/"

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
# https://cloud.google.com/trace/docs/trace-context#legacy-http-header
_CLOUD_TRACE = re.compile(r"(?P<trace>[0-9a-f]{32})(?:/(?P<span>\d{1,20}))?(?:;o=(?P<flags>\d))?")


@contextlib.contextmanager
def stderr_for(args: Sequence[str], environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Have lines of JSON on stderr from the beginning if a command line or a variable asks for them.

    So the mistakes of options and settings are logged like anything else.

    Args:
        args: The words of the command line.
        environ: The variables.
    """
    given = environ.get("PYDAG_LOG_FORMAT", "")
    for word, following in pairwise([*args, ""]):
        if word == "--log-format":
            given = following
        elif word.startswith("--log-format="):
            given = word.partition("=")[2]
    before = sys.stderr
    try:
        if given == JSON:
            structure(environ)
        yield
    finally:
        if structured():
            sys.stderr.write("\n")  # ends what was printed without an end
        sys.stderr = before


def structured() -> JsonLog | None:
    """The log that stderr has been turned into, if it has."""
    return sys.stderr.log if isinstance(sys.stderr, _Lines) else None


def structure(environ: Mapping[str, str] = os.environ) -> JsonLog:
    """Turn stderr into lines of JSON, for the rest of the command."""
    log = structured()
    if log is None:
        log = JsonLog(sys.stderr, environ)
        sys.stderr = _Lines(log)
    return log


class JsonLog:
    """Writes entries, one line each.

    Args:
        stream: Where they go. A reader that goes away is no reason to end a run.
        environ: Names the trace to which all entries belong.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        from pydag_gcp.redaction import Redactor

        self.redact = Redactor()
        self.stream = stream
        self._trace = trace_fields(environ)
        self._lock = threading.Lock()

    def write(
        self,
        severity: str,
        message: str,
        *,
        at: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Write one entry.

        Args:
            severity: One of Cloud Logging's.
            message: What is said; it is redacted here.
            at: When; default: now.
            labels: What the entry can be found by.
            fields: More of the payload.
        """
        text = self.redact(message)
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]} ... ({len(text) - LONGEST} characters more)"
        moment = (at or datetime.now(UTC)).astimezone(UTC)
        entry = {
            "severity": severity,
            "message": text,
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            **fields,
            **({f"{_SPECIAL}labels": dict(labels)} if labels else {}),
            **self._trace,
        }
        line = json.dumps(entry, default=str) + "\n"
        with self._lock:
            try:
                self.stream.write(line)
                self.stream.flush()
            except OSError:
                discard(self.stream)


class _Lines(io.TextIOBase):
    """Stands for stderr: makes an entry of every line that is printed."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, log: JsonLog) -> None:
        self.log = log
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Take in text; an entry is made when its line ends."""
        *lines, self._begun.text = (getattr(self._begun, "text", "") + text).split("\n")
        for line in filter(str.strip, lines):
            kind, colon, rest = line.partition(": ")
            severity = {"error": "ERROR", "warning": "WARNING"}.get(kind) if colon else None
            self.log.write(severity or "DEFAULT", rest if severity else line.rstrip())
        return len(text)

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor below, which child processes inherit."""
        return self.log.stream.fileno()


def trace_fields(environ: Mapping[str, str]) -> dict[str, Any]:
    """The fields that join entries to the trace which the environment names, in a project that it names, too.

    A trace is given as ``TRACEPARENT`` or ``X_CLOUD_TRACE_CONTEXT``, with the values of the headers of these names.
    """
    project = environ.get("GOOGLE_CLOUD_PROJECT")
    found = _TRACEPARENT.fullmatch(environ.get("TRACEPARENT", "").strip().lower())
    hexadecimal = found is not None
    if found is None:
        found = _CLOUD_TRACE.fullmatch(environ.get("X_CLOUD_TRACE_CONTEXT", "").strip().lower())
    if not project or found is None or not int(found["trace"], 16):
        return {}
    fields: dict[str, Any] = {f"{_SPECIAL}trace": f"projects/{project}/traces/{found['trace']}"}
    if found["span"] and int(found["span"], 16):
        span = found["span"] if hexadecimal else f"{int(found['span']):016x}"
        fields[f"{_SPECIAL}spanId"] = span
    if found["flags"]:
        fields[f"{_SPECIAL}trace_sampled"] = bool(int(found["flags"], 16) & 1)
    return fields
