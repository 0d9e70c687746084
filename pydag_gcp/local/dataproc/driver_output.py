"""What a driver printed, read for the reason of its failure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: How much of the end of the output is looked at, and how many lines of it are handed on.
_BYTES = 64 * 1024
_LINES = 20

#: Lines of a Java stack trace, which say nothing to the author of a Python program.
_JAVA_FRAME = re.compile(r"\s+at [\w.$/<>]+\(.*\)$|\s*\.\.\. \d+ more$")

_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a driver failed, as far as its output tells.

    Attributes:
        message: The line that says it; empty if nothing was printed.
        lines: The last lines, without Java's stack traces.
    """

    message: str
    lines: tuple[str, ...]


def failure(output: Path) -> Failure:
    """Read the end of a failed driver's output."""
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - _BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _JAVA_FRAME.match(line)]
    return Failure(message=_error(lines) or (lines[-1].strip() if lines else ""), lines=tuple(lines[-_LINES:]))


def details(output: Path, *, uri: str, code: int) -> str:
    """Say why a job failed, where its output is, and how that ends.

    Args:
        output: The output's file.
        uri: The objects it consists of, without their numbers.
        code: The driver's exit code; negative for the signal that killed it.
    """
    if code == 0 or not output.exists():
        return ""
    reason = failure(output)
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    where = f"Additional details can be found at:\n{uri}.*"
    return "\n".join([f"Job failed with message [{reason.message or how}] ({how}). {where}", *reason.lines])


def _error(lines: list[str]) -> str:
    """Return the error at the end of the last Python traceback, with the Java error that it carries."""
    starts = [place for place, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        return ""
    rest = lines[starts[-1] + 1 :]
    for place, line in enumerate(rest):
        if not line.startswith(" "):
            java = rest[place + 1] if place + 1 < len(rest) and rest[place + 1].startswith(": ") else ""
            return f"{line}{java}"
    return ""
