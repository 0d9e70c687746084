"""Per-try log files, with secrets redacted.

Every try has one file, ``<home>/logs/<dag>/<run>/<task>/<try>.log``, made when the first line is logged.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

_MASK = "[redacted]"
# Shapes of secrets that reach messages by accident: key files, OAuth and bearer tokens, passwords in URLs and options.
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bya29\.[\w.-]+"
    r"|(?<=AIza)[\w-]{35}"
    r"|(?<=bearer )[\w.~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=password=)[^\s&;,'\"]+"
    r"|(?<=secret=)[^\s&;,'\"]+"
    r"|(?<=token=)[^\s&;,'\"]+",
    re.IGNORECASE | re.DOTALL,
)
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)


class Redactor:
    """Replaces secrets in text: well-known shapes, and the values of environment variables with a telling name.

    Args:
        environ: The variables; values under six characters are not taken for secrets.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        values = {value for name, value in environ.items() if _SECRET_NAME.search(name) and len(value) >= 6}
        longest_first = sorted(values, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, longest_first))) if values else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without its secrets."""
        if self._values is not None:
            text = self._values.sub(_MASK, text)
        return _SHAPES.sub(_MASK, text)


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


class TryLog:
    """The log of one try: a logger that belongs to nobody else, writing to one file.

    Args:
        file: Where it goes; its folder is made with the first line.
        redact: Takes the secrets out.
    """

    def __init__(self, file: Path, redact: Redactor) -> None:
        self.file = file
        self.logger = logging.Logger("pydag_gcp.task", level=logging.DEBUG)  # noqa: LOG001 - not in the global tree
        handler = _LazyFileHandler(file)
        handler.setFormatter(_Formatter(redact))
        self.logger.addHandler(handler)

    def close(self) -> None:
        """Close the file."""
        for handler in self.logger.handlers:
            handler.close()


class _LazyFileHandler(logging.FileHandler):
    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8", delay=True)

    def _open(self):  # type: ignore[no-untyped-def]  # typeshed's type differs between Python versions
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()
