"""A thousand jobs that are deferred at once, and ten thousand: deferred.py, as a part of the page.

::

    python benchmarks/pending.py [--quick]
"""

from __future__ import annotations

import deferred
from report import Report, Table, Target, main, progress
from shapes import WORKERS

METHOD = f"""\
One `pydag run` on 8 processors starts that many BigQuery jobs on the local cloud, which keeps them pending and
ends them bit by bit. While all are pending the run's process is measured, alone: processor time and API calls;
memory is the peak of the whole run. How late an end is seen is counted from the job's `endTime` to the end of its
task, which also reads the job's result, in intervals of {deferred.POLL_INTERVAL:g} s. One run each, as it takes
minutes."""

#: How many jobs; for how many seconds they stay pending, longer than it takes to send them; over how many they end.
RUNS = ((1000, 60.0, 120.0), (10_000, 120.0, 60.0))
QUICK = ((20, 5.0, 1.0),)

#: What the targets are about; more jobs are measured without.
JUDGED = 1000


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Run each once."""
    found, notes = [], []
    for jobs, seconds, spread in QUICK if quick else RUNS:
        progress(f"{jobs:,} jobs, pending for {seconds:g} s and more")
        try:
            found.append(deferred.measure(jobs=jobs, seconds=seconds, spread=spread, processors=WORKERS))
        except SystemExit as error:
            if not found:
                raise
            notes.append(f"{jobs:,} jobs could not be measured: {error}")
    lines = [deferred.report(measured) for measured in found]
    rows = [(name.strip(), *(str(dict(line)[name]) for line in lines)) for name, _ in lines[0][1:]]
    return Report(
        part="pending",
        title="Deferred jobs",
        method=METHOD,
        tables=[
            Table(
                title="While jobs are pending",
                columns=("", *(f"{measured.jobs:,} jobs" for measured in found)),
                rows=tuple(rows),
            )
        ],
        targets=[target for measured in found if measured.jobs == JUDGED for target in _targets(measured)],
        notes=notes,
        samples={f"{measured.jobs} jobs: seen after s": measured.delays for measured in found},
    )


def _targets(measured: deferred.Measured) -> list[Target]:
    cpu = 100 * measured.waiting.cpu / measured.waiting.seconds
    late = max(measured.delays) / deferred.POLL_INTERVAL
    which = f"{measured.jobs:,} deferred jobs"
    return [
        Target(what=f"{which}: peak memory", found=measured.memory, most=deferred.MOST_MEMORY, unit="MB"),
        Target(what=f"{which}: of one core while waiting", found=cpu, most=deferred.MOST_CPU, unit="%"),
        Target(what=f"{which}: the last end seen, poll intervals", found=late, most=deferred.MOST_DELAY),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
