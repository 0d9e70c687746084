"""How close a run comes to its critical path: makespan over the longest path, 8 workers.

::

    python benchmarks/makespan.py [--quick]
"""

from __future__ import annotations

from collections.abc import Callable
from time import sleep

import floor
import ours
import waves
from report import Report, Table, Target, main, progress
from samples import Samples, interleaved, timed
from shapes import Shape, shape

METHOD = """\
Tasks that sleep, on 8 processors, not pinned; the time from the planned DAG to the end of its run (store and all)
over the sum of the sleeps along the longest path, which nobody can beat. *Alone* are these sleeps one after another
in one thread, with nothing between them: a sleep takes longer than it should. They, floor, waves and we take turns.
*First run* is ours in an empty store, where no task's duration is known; *later runs* know them from the store, and are
what the targets are about."""

#: Shape -> makespan over critical path that it should not exceed.
MOST = {"W4": 1.03, "W4b": 1.04, "W5": 1.02}


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Take turns, and compare."""
    repeat = 1 if quick else 7
    found = {name: _measured(shape(name, quick=quick), repeat) for name in MOST}
    rows = []
    for name, samples in found.items():
        measured = shape(name, quick=quick)
        who = [samples[who].text(3) for who in ("alone", "floor", "waves", "first", "later")]
        rows.append((f"{name}: {measured.title}", f"{measured.critical:.2f} s", *who))
    return Report(
        part="makespan",
        title="Makespan over critical path",
        method=METHOD,
        tables=[
            Table(
                title="Makespan over critical path, 8 workers: median (least-greatest)",
                columns=("shape", "critical path", "alone", "floor", "waves", "first run", "later runs"),
                rows=tuple(rows),
            )
        ],
        targets=[
            Target(what=f"{name}: later runs", found=found[name]["later"].median, most=most)
            for name, most in MOST.items()
        ],
        samples={f"{name} {who}": s.values for name, samples in found.items() for who, s in samples.items()},
    )


def _measured(measured: Shape, repeat: int) -> dict[str, Samples]:
    progress(f"{measured.name}: {measured.title}")
    first = []
    for _ in range(repeat):
        with ours.home():
            first.append(_ours(measured))
    with ours.home():
        turns = interleaved(
            {
                "alone": lambda: timed(lambda: _sleep_along(measured)),
                "floor": _threads(floor.run, measured),
                "waves": _threads(waves.run, measured),
                "later": lambda: _ours(measured),
            },
            repeat,
        )
    found = {"first": Samples(tuple(first)), **turns}
    return {who: samples.scaled(1 / measured.critical) for who, samples in found.items()}


def _sleep_along(measured: Shape) -> None:
    for task in measured.longest:
        if measured.seconds(task):
            sleep(measured.seconds(task))


def _ours(measured: Shape) -> float:
    plan = ours.plan(ours.build(measured))
    return timed(lambda: ours.execute(plan, lambda _: None))


def _threads(run: Callable[..., None], measured: Shape) -> Callable[[], float]:
    return lambda: timed(lambda: run(measured.upstream, lambda task: sleep(measured.seconds(task))))


if __name__ == "__main__":
    main(measure, __doc__)
