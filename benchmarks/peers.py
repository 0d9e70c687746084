"""The same shapes run by dask, luigi, prefect and dagster, each in an environment of its own, and by us.

::

    python benchmarks/peers.py [--quick]

The environments are made in build/peers/ when they are not there. A peer that cannot be installed, or fails, is
reported as such.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from environments import PINNED, Unavailable, called, interpreter
from report import Report, Table, main, progress
from samples import Samples
from shapes import shape

METHOD = """\
The same tasks and edges, given to each peer in the fastest way that its documentation has for running a graph on
one machine: **dask** its threaded scheduler on a plain graph (nothing durable); **luigi** its local scheduler, a
file as target of each task, one worker in its own process where tasks do nothing, 8 forked workers where they
sleep; **prefect** a flow with a task runner of 8 threads and the temporary server that it starts by itself, which
is up before anything is timed; **dagster** `execute_in_process` with an instance in memory, which runs one op
after another (its multiprocess executor takes over a second an op). **pydag** `DAG.run` with the store on:
planning and checks are in the figures. Every peer has its own interpreter and virtual environment; starting these
is not counted, nor is a first run of a small graph. W1 to W3 are pinned to one core (servers and forked workers,
too)."""

#: Shapes of tasks that do nothing: microseconds a task.
OVERHEAD = ("W1", "W2", "W3")
#: Shapes of tasks that sleep: makespan over critical path.
MAKESPAN = ("W4", "W4b", "W5")

Cell = Samples | str


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Run every peer on every shape."""
    found: dict[str, dict[str, Cell]] = {
        who: _of(sys.executable, f"peer_{who}.py", quick=quick) for who in ("floor", "pydag")
    }
    notes = []
    for peer in PINNED:
        try:
            found[peer] = _of(str(interpreter(peer)), f"peer_{peer}.py", quick=quick)
        except Unavailable as error:
            notes.append(f"{peer} could not be installed: {error}")
            found[peer] = dict.fromkeys((*OVERHEAD, *MAKESPAN), "not installed")
    notes += [
        f"{peer}, {name}: {cell}" for peer, row in found.items() for name, cell in row.items() if str(cell) == cell
    ]
    return Report(
        part="peers",
        title="Peers",
        method=METHOD,
        tables=[
            _table("Microseconds a task, on one core: median (least-greatest)", found, OVERHEAD, digits=0),
            _table("Makespan over critical path, 8 workers: median (least-greatest)", found, MAKESPAN, digits=2),
        ],
        notes=[*notes, f"Versions: {', '.join(version for pins in PINNED.values() for version in pins)}."],
        samples={
            f"{peer} {name}": cell.values
            for peer, row in found.items()
            for name, cell in row.items()
            if isinstance(cell, Samples)
        },
    )


def _of(python: str, script: str, *, quick: bool) -> dict[str, Cell]:
    return {name: _cell(python, script, name, quick=quick) for name in (*OVERHEAD, *MAKESPAN)}


def _cell(python: str, script: str, name: str, *, quick: bool) -> Cell:
    """Measure one peer on one shape; what went wrong, if something did."""
    options = ("--repeat", "1", "--quick") if quick else ("--repeat", "5")
    try:
        printed = called(python, str(Path(__file__).with_name(script)), name, *options)
    except Unavailable as error:
        progress(f"{script} {name}: failed: {error}")
        return f"failed: {error}"
    seconds = Samples(tuple(json.loads(printed.splitlines()[-1])["seconds"]))
    progress(f"{script} {name}: {seconds.median:.2f} s a run")
    measured = shape(name, quick=quick)
    return seconds.scaled(1e6 / len(measured.upstream) if name in OVERHEAD else 1 / measured.critical)


def _table(title: str, found: Mapping[str, Mapping[str, Cell]], names: tuple[str, ...], *, digits: int) -> Table:
    rows = [
        (peer, *(cell.text(digits) if isinstance(cell := row[name], Samples) else "failed" for name in names))
        for peer, row in found.items()
    ]
    return Table(title=title, columns=("", *names), rows=tuple(rows))


if __name__ == "__main__":
    main(measure, __doc__)
