"""Whether a process of this host that was seen in the past is still there."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: How far the clock that processes are dated by may be off.
_TICK = timedelta(seconds=2)


def lives(pid: int, since: datetime) -> bool:
    """Tell whether the process that had this id then is still there.

    An id is given again, and in a container it is always the same: a process that began later is another one.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it belongs to somebody else, but is there
    try:
        state, began = _look_up(pid)
    except OSError:
        return True  # not Linux, or it went just now
    return state not in "ZX" and began <= since + _TICK


def _look_up(pid: int) -> tuple[str, datetime]:
    """The state of a process, and when it began.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    lines = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime"))
    return fields[0], datetime.fromtimestamp(boot + int(fields[19]) / os.sysconf("SC_CLK_TCK"), tz=UTC)
