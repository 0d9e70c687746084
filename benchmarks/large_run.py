"""One run of a large shape in a process of its own; prints seconds and memory as JSON. See large.py.

::

    python benchmarks/large_run.py {pydag,floor,waves} [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import floor
import waves
from shapes import WORKERS, shape

if TYPE_CHECKING:
    from pydag_gcp.events import Event


class Clock:
    """Seconds of what follows each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def lap(self, name: str) -> None:
        """What has passed since the last lap is called so."""
        now = time.perf_counter()
        self.seconds[name] = now - self._began
        self._began = now


def pydag(*, quick: bool) -> dict[str, float]:
    """Everything from the import to the end of the run; the plain data that a DAG is made from is not counted."""
    clock = Clock()
    import ours

    import pydag_gcp.executor
    import pydag_gcp.planner  # noqa: F401 - what the first run of a process loads

    clock.lap("import")
    data = shape("W6", quick=quick)
    clock.lap("data")
    dag = ours.build(data)
    clock.lap("build")
    del data
    plan = ours.plan(dag)
    clock.lap("plan")
    seen: Counter[type[Event]] = Counter()
    ours.execute(plan, lambda event: seen.update((type(event),)))
    clock.lap("run")
    del clock.seconds["data"]
    return clock.seconds


def threads(name: str, *, quick: bool) -> dict[str, float]:
    """The same graph, done by the floor or by waves."""
    data = shape("W6", quick=quick)
    clock = Clock()
    {"floor": floor.run, "waves": waves.run}[name](data.upstream, lambda _: None, WORKERS)
    clock.lap("run")
    return clock.seconds


def peak() -> float:
    """Most memory that this process has had, in MB.

    ``ru_maxrss`` will not do on Linux: it counts what the parent had when it made us.
    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes, where there is no /proc
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Run a large shape once.")
    parser.add_argument("who", choices=("pydag", "floor", "waves"))
    parser.add_argument("--quick", action="store_true", help="with few tasks")
    args = parser.parse_args()
    seconds = pydag(quick=args.quick) if args.who == "pydag" else threads(args.who, quick=args.quick)
    print(json.dumps({"seconds": seconds, "megabytes": peak()}))


if __name__ == "__main__":
    main()
