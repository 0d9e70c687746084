"""Whether a process of this machine that was seen in the past is still there."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def mark() -> str | None:
    """What tells this process from every other that ever has its id, here or elsewhere; None if nothing does."""
    return _mark(os.getpid())


@cache
def _mark(pid: int) -> str | None:
    try:
        return f"{_machine()} {_fields(pid)[19]}"
    except OSError:
        return None  # not Linux


def gone(pid: int, mark: str | None) -> bool:
    """Tell whether the process with this id and :func:`mark` has ended for sure, which only its own machine can.

    An id is given again, and in a container it is always the same: a process that began at another time is another one.
    """
    try:
        machine, _, began = (mark or "").rpartition(" ")
        if not machine or machine != _machine():
            return False
        os.kill(pid, 0)
        fields = _fields(pid)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return fields[0] in "ZX" or fields[19] != began


def _machine() -> str:
    """The machine since it was booted, and the part of it in which a process id means one process.

    https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"


def _fields(pid: int) -> list[str]:
    """The fields of a process from its state on: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
