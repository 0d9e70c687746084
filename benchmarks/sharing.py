"""Four DAGs of different shapes on one machine of 8 processors: a fixed share each, or whatever is free.

::

    python benchmarks/sharing.py [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import ours
from report import Report, Table, Target, main, progress
from samples import Samples
from shapes import WORKERS, bound
from sharing_run import ALIKE, TOGETHER, shapes

METHOD = """\
Four DAGs begin at the same moment on a pool of 8 processors: 160 x 50 ms side by side, a chain of 30 x 50 ms, 12
layers of 8 x 40 ms, 24 x 150 ms; all of it sleeps. *Fixed* gives each at most two processors (`max_processors=2`),
*dynamic* whatever is free. *One process* runs each DAG in a thread of its own, *four processes* one DAG each, all
in interpreters that have run one task before; both from the start of the runs, planning included, to the end of
the last one. Nobody can be faster than max(work / 8, longest path). *At once* is the most tasks that were ever
seen to sleep at the same time, in all processes.

Then four equal DAGs (300 x 20 ms) run in four processes, one of which is killed with SIGKILL: the time until the
three others have eight tasks running."""

#: Makespan over the bound that it should not exceed, by the number of processes.
MOST = {1: 1.05, 4: 1.10}
#: Milliseconds after which others should use what a killed process held.
MOST_MS = 100

Nap = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Together:
    """What a run of several DAGs came to: seconds, and the most tasks at once."""

    seconds: float
    at_once: int


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Fixed and dynamic take turns."""
    known = shapes(quick=quick)
    least = bound([known[name] for name in TOGETHER], WORKERS)
    rows, targets, samples = [], [], {}
    for processes, in_words in ((1, "one process"), (4, "four processes")):
        fixed, dynamic = _in_turns(processes, 1 if quick else 7, quick=quick)
        for how, runs in (("fixed, 2 each", fixed), ("dynamic", dynamic)):
            seconds = Samples(tuple(run.seconds for run in runs))
            ratio = seconds.scaled(1 / least)
            at_once = str(max(run.at_once for run in runs))
            rows.append((f"{in_words}, {how}", seconds.text(2), ratio.text(3), at_once))
            samples[f"{in_words}, {how} s"] = seconds.values
        what = f"dynamic, {in_words}: makespan over bound"
        targets.append(Target(what=what, found=ratio.median, most=MOST[processes]))
    killed = Samples(tuple(_kill(quick=quick) for _ in range(1 if quick else 7)))
    what = "SIGKILL of one of four: others use its processors, the longest"
    targets.append(Target(what=what, found=max(killed.values), most=MOST_MS, unit="ms"))
    return Report(
        part="sharing",
        title="Sharing processors",
        method=METHOD,
        tables=[
            Table(
                title=f"Makespan of four DAGs; bound {least:.2f} s: median (least-greatest)",
                columns=("", "seconds", "over bound", "at once"),
                rows=tuple(rows),
            ),
            Table(title="After SIGKILL", columns=("", "ms"), rows=(("until eight run", killed.text(0)),)),
        ],
        targets=targets,
        samples={**samples, "killed ms": killed.values},
    )


def _in_turns(processes: int, repeat: int, *, quick: bool) -> tuple[list[Together], list[Together]]:
    names = list(TOGETHER)
    share = len(names) // processes
    groups = [names[i : i + share] for i in range(0, len(names), share)]
    fixed, dynamic = [], []
    with ours.home(), _children(groups, quick=quick) as children:
        _together(children, most=0)  # from here on the store knows how long tasks take
        for _ in range(repeat):
            fixed.append(_together(children, most=WORKERS // len(names)))
            dynamic.append(_together(children, most=0))
            progress(f"processes: {processes}, fixed {fixed[-1].seconds:.2f} s, dynamic {dynamic[-1].seconds:.2f} s")
    return fixed, dynamic


def _together(children: Sequence[subprocess.Popen[str]], *, most: int) -> Together:
    """Run all DAGs of all processes."""
    began = _start(children, most)
    found = [_said(child) for child in children]
    naps = [nap for said in found for nap in said.naps]
    return Together(seconds=max(said.ended for said in found) - began, at_once=max(at_once(naps).values()))


def _kill(*, quick: bool) -> float:
    """Kill one of four; return the milliseconds until the others have as many tasks running as there are processors."""
    with ours.home(), _children([[name] for name in ALIKE], quick=quick) as children:
        _start(children, most=0)
        time.sleep(0.15 if quick else 1.0)
        at = time.monotonic()
        children[0].kill()
        naps = [nap for child in children[1:] for nap in _said(child).naps]
    full = (moment for moment, running in at_once(naps).items() if moment >= at and running >= WORKERS)
    taken = 1000 * (next(full, float("inf")) - at)
    progress(f"killed one of four: others run {WORKERS} tasks after {taken:.0f} ms")
    return taken


def at_once(naps: Iterable[Nap]) -> dict[float, int]:
    """Moment -> how many sleep from then on, in order."""
    changes = sorted((moment, change) for began, ended in naps for moment, change in ((began, 1), (ended, -1)))
    return dict(zip((moment for moment, _ in changes), accumulate(change for _, change in changes), strict=True))


@dataclass(frozen=True, kw_only=True)
class _Said:
    ended: float
    naps: Sequence[Nap]


@contextmanager
def _children(groups: Sequence[Sequence[str]], *, quick: bool) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready to run; none is left behind."""
    command = [sys.executable, str(Path(__file__).with_name("sharing_run.py")), *(["--quick"] if quick else [])]
    children = [
        subprocess.Popen([*command, *group], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for group in groups
    ]
    try:
        for child in children:
            _line(child)
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _start(children: Sequence[subprocess.Popen[str]], most: int) -> float:
    began = time.monotonic()
    for child in children:
        assert child.stdin is not None
        child.stdin.write(f"{most}\n")
        child.stdin.flush()
    return began


def _said(child: subprocess.Popen[str]) -> _Said:
    found = json.loads(_line(child))
    return _Said(ended=found["ended"], naps=[(began, ended) for began, ended in found["naps"]])


def _line(child: subprocess.Popen[str]) -> str:
    """The next line that it prints.

    Raises:
        SystemExit: It ended instead; it has said why.
    """
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"error: {child.args!r} failed")
    return line


if __name__ == "__main__":
    main(measure, __doc__)
