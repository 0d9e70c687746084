"""What 100,000 tasks take: seconds and memory, each run in a process of its own.

::

    python benchmarks/large.py [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import ours
from report import Report, Table, Target, main, progress
from samples import Samples
from shapes import shape

METHOD = """\
A started interpreter imports us, makes a DAG of W6 (100,000 tasks that do nothing, in layers, each after three of
the layer before) from plain data, checks, plans and runs it on 8 processors, with the store on and a listener that
counts events; `@task` functions that say nothing of what they read and write. Every run has a process of its own,
not pinned, and a new store. Memory is the peak of the resident set of that process, Python and our modules included."""

#: Seconds, and MB.
MOST_SECONDS = 6
MOST_MEMORY = 200

PARTS = ("import", "build", "plan", "run")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one process says of itself."""

    seconds: dict[str, float]
    megabytes: float

    @property
    def total(self) -> float:
        """Seconds, all in."""
        return sum(self.seconds.values())


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Run everybody in turns."""
    repeat = 1 if quick else 5
    found: dict[str, list[Found]] = {"pydag": [], "floor": [], "waves": []}
    for turn in range(repeat):
        for who, runs in found.items():
            runs.append(_process(who, quick=quick))
            progress(f"{turn + 1} of {repeat}, {who}: {runs[-1].total:.1f} s, {runs[-1].megabytes:.0f} MB")
    total = Samples(tuple(run.total for run in found["pydag"]))
    memory = Samples(tuple(run.megabytes for run in found["pydag"]))
    title = shape("W6", quick=quick).title
    return Report(
        part="large",
        title="100,000 tasks",
        method=METHOD,
        tables=[
            Table(
                title=f"W6, {title}: seconds and MB, median (least-greatest)",
                columns=("", *PARTS, "all in, s", "peak, MB"),
                rows=tuple(_row(who, runs) for who, runs in found.items()),
            )
        ],
        targets=[
            Target(what="W6: all in", found=total.median, most=MOST_SECONDS, unit="s"),
            Target(what="W6: peak memory", found=memory.median, most=MOST_MEMORY, unit="MB"),
        ],
        samples={
            **{f"{who} s": [run.total for run in runs] for who, runs in found.items()},
            **{f"{who} MB": [run.megabytes for run in runs] for who, runs in found.items()},
        },
    )


def _row(who: str, runs: list[Found]) -> tuple[str, ...]:
    parts = [
        f"{Samples(tuple(run.seconds[part] for run in runs)).median:.2f}" if part in runs[0].seconds else ""
        for part in PARTS
    ]
    total, memory = Samples(tuple(run.total for run in runs)), Samples(tuple(run.megabytes for run in runs))
    return who, *parts, total.text(2), memory.text(0)


def _process(who: str, *, quick: bool) -> Found:
    """Measure once, in a new process and a new store.

    Raises:
        SystemExit: It failed.
    """
    command = [sys.executable, str(Path(__file__).with_name("large_run.py")), who, *(["--quick"] if quick else [])]
    with ours.home():
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"error: {' '.join(command)} failed:\n{ended.stderr}")
    found = json.loads(ended.stdout)
    return Found(seconds=found["seconds"], megabytes=found["megabytes"])


if __name__ == "__main__":
    main(measure, __doc__)
