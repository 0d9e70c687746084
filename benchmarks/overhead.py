"""What a task costs that does nothing: microseconds a task, beside the floor, on one core.

::

    python benchmarks/overhead.py [--quick]

The floor, the waves of 2022, a raw SQLite commit and we take turns in one process that is pinned to one core. We have
the durable store on, and a listener that keeps every event in memory.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import floor
import ours
import waves
from report import Report, Table, Target, main, progress
from samples import Samples, interleaved, timed
from shapes import Shape, chain, shape

from pydag_gcp.events import Event

METHOD = """\
Tasks that do nothing, on 8 threads in a process that is pinned to one core: elsewhere the figures are those of the
operating system's hand-off between threads. In each turn every shape is run once by the floor (graphlib,
ThreadPoolExecutor and SimpleQueue, 15 lines, which keep no record), once wave by wave and once by us, so that a
disturbance meets all of them. *Run / floor* compares what is of the same turn, as a virtual machine may be half as
fast again a minute later. *Build* makes the DAG from plain data, *plan* checks and plans it, *run* is everything from
then on: lease, run and tries in the store (SQLite, WAL, `synchronous=FULL`), a listener that keeps every event, the end
of the run. A raw commit is one INSERT in a transaction in a SQLite file beside the store, with the same pragmas."""

#: How many times the floor a run may take, and microseconds that no task may exceed.
TIMES_FLOOR = 3
MOST = 100


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Take turns, and compare."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = {}
    with ours.home() as home:
        commits = Commits(home / "raw.db", times=20 if quick else 100)
        for name in ("W1", "W2", "W3"):
            measured = shape(name, quick=quick)
            progress(f"{name}: {measured.title}")
            found[name] = Overhead.of(measured, commits, repeat=2 if quick else 25)
        progress("a run of one task")
        single = OurRun(chain("one", "one task", 1))
        found_single = interleaved({"run": single.turn}, 2 if quick else 25)["run"]
        commits.close()
    rows = [overhead.cells() for overhead in found.values()]
    table = Table(
        title="Microseconds a task: median (least-greatest)",
        columns=("shape", "floor", "waves", "build", "plan", "run", "run / floor", "raw commit"),
        rows=tuple(rows),
    )
    return Report(
        part="overhead",
        title="Overhead of a task",
        method=METHOD,
        tables=[table],
        targets=[target for overhead in found.values() for target in overhead.targets()],
        notes=[
            f"A run of a single task takes {found_single.scaled(1000).text(1)} ms; that is in all figures of *run*."
        ],
        samples={
            f"{name} {who} us": samples.values
            for name, overhead in found.items()
            for who, samples in overhead.samples.items()
        },
    )


class OurRun:
    """Builds, plans and runs a shape; keeps what each part took."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.build: list[float] = []
        self.plan: list[float] = []

    def turn(self) -> float:
        """Do it once; return the seconds of the run alone."""
        events: list[Event] = []
        planned = []
        dags = []
        self.build.append(timed(lambda: dags.append(ours.build(self._shape))))
        self.plan.append(timed(lambda: planned.append(ours.plan(dags[0]))))
        return timed(lambda: ours.execute(planned[0], events.append))


class Commits:
    """The raw cost of one durable commit on this disk."""

    def __init__(self, file: Path, times: int) -> None:
        self._times = times
        self._connection = sqlite3.connect(file, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE commits (n INTEGER, text TEXT)")

    def turn(self) -> float:
        """Commit some rows one by one; return the mean time of one."""
        return timed(self._commit) / self._times

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _commit(self) -> None:
        for n in range(self._times):
            self._connection.execute("BEGIN")
            self._connection.execute("INSERT INTO commits VALUES (?, ?)", (n, "success"))
            self._connection.execute("COMMIT")


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """One shape: microseconds a task, by whom."""

    shape: Shape
    samples: dict[str, Samples] = field(default_factory=dict)

    @staticmethod
    def of(shape: Shape, commits: Commits, *, repeat: int) -> Overhead:
        """Measure it."""
        run = OurRun(shape)
        found = interleaved(
            {
                "floor": _threads(floor.run, shape),
                "waves": _threads(waves.run, shape),
                "commit": commits.turn,
                "run": run.turn,
            },
            repeat,
        )
        found |= {"build": Samples(tuple(run.build[1:])), "plan": Samples(tuple(run.plan[1:]))}
        each = 1e6 / len(shape.upstream)
        return Overhead(
            shape=shape, samples={who: s.scaled(1e6 if who == "commit" else each) for who, s in found.items()}
        )

    def median(self, who: str) -> float:
        """The median of one column."""
        return self.samples[who].median

    @property
    def times_floor(self) -> Samples:
        """How many times the floor's a run's is."""
        return self.samples["run"].over(self.samples["floor"])

    def cells(self) -> tuple[str, ...]:
        """It as a row of the table."""
        figures = [self.samples[who].text(1) for who in ("floor", "waves", "build", "plan", "run")]
        times = self.times_floor.text(1)
        return f"{self.shape.name}: {self.shape.title}", *figures, times, self.samples["commit"].text(0)

    def targets(self) -> tuple[Target, Target]:
        """What should hold of it: a chain cannot share its commits, so it may take one more."""
        name, found, floor = self.shape.name, self.median("run"), self.median("floor")
        if name == "W1":
            most = TIMES_FLOOR * floor + self.median("commit")
            relative = Target(
                what=f"{name}: run, 3x the floor and one raw commit", found=found, most=most, unit="us a task"
            )
        else:
            relative = Target(what=f"{name}: run over floor", found=self.times_floor.median, most=TIMES_FLOOR)
        return relative, Target(what=f"{name}: run", found=found, most=MOST, unit="us a task")


def _threads(run: Callable[..., None], shape: Shape) -> Callable[[], float]:
    return lambda: timed(lambda: run(shape.upstream, lambda _: None))


if __name__ == "__main__":
    main(measure, __doc__)
