"""How many CPUs this process may use: fewer than the machine has, in a container or when pinned to some."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath


def usable(root: Path = Path("/")) -> int:
    """Count the CPUs that this process may use, by its affinity and by the quotas of its control groups.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, round(min(cpus, _quota_of_all(root))))


@cache  # a dozen files, read by each run; a process stays in its groups, and hardly ever are their quotas changed
def _quota_of_all(root: Path) -> float:
    return min(map(math.ceil, _quotas(root)), default=math.inf)


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas that hold for this process, in CPUs.

    A line of ``/proc/self/cgroup`` is ``hierarchy:controllers:path``, with ``0::path`` for version 2:
    https://man7.org/linux/man-pages/man7/cgroups.7.html. A quota holds for all groups below, and in a container the
    path may be the host's, where only the hierarchy's root can be seen: hence all folders above are looked at.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        group = PurePosixPath(path.lstrip("/"))
        if number == "0" and not controllers:
            hierarchies = ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            hierarchies = ["sys/fs/cgroup/cpu", f"sys/fs/cgroup/{controllers}"]
        else:
            continue
        for hierarchy in hierarchies:
            for folder in (group, *group.parents):
                yield from _quota(root / hierarchy / folder)


def _quota(folder: Path) -> Iterator[float]:
    """The quota of one group, if it has one.

    Version 2 has ``cpu.max``, "quota period" or "max period": https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files;
    version 1 two files, and -1 for none: https://docs.kernel.org/scheduler/sched-bwc.html#management.
    """
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text(encoding="ascii") for name in names).split()
            if int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue
