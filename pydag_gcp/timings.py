"""What tasks took in earlier runs, as far as the metadata database knows."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from pydag_gcp.database import Database
from pydag_gcp.durations import median
from pydag_gcp.states import TaskState
from pydag_gcp.tables import runs, tries

_SUCCEEDED = tries.c.state == TaskState.SUCCESS.value
_RECENT = (
    sa.select(runs.c.run_id)
    .where(runs.c.dag_id == sa.bindparam("of_dag"), runs.c.target == sa.bindparam("of_target"))
    .where(sa.exists().where(tries.c.run_id == runs.c.run_id, _SUCCEEDED))
    .order_by(runs.c.started.desc())
    .limit(sa.bindparam("most"))
)
_TOOK = (
    sa.select(tries.c.task_id, tries.c.started, tries.c.ended)
    .where(tries.c.run_id == sa.bindparam("of_run"), _SUCCEEDED)
    .limit(sa.bindparam("most"))
)


class Timings:
    """The seconds that successful tries took; of a run of 100,000 tasks no more is kept than the one number of each.

    Attributes:
        tries: How many are known.
    """

    def __init__(self) -> None:
        self.tries = 0
        self._first: dict[str, float] = {}
        self._all: dict[str, list[float]] = {}  # where there is more than the first

    def add(self, database: Database, run_id: str, *, most: int) -> None:
        """Take in the tries of a run, ``most`` of them at most."""
        moment, first = datetime.fromisoformat, self._first
        for rows in database.parts(_TOOK, {"of_run": run_id, "most": most}):
            self.tries += len(rows)
            for task_id, started, ended in rows:
                took = max((moment(ended) - moment(started)).total_seconds(), 0.0)
                if task_id not in first:
                    first[task_id] = took
                else:
                    self._all.setdefault(task_id, [first[task_id]]).append(took)

    def medians(self) -> dict[str, float]:
        """Task id -> the median of its seconds."""
        return self._first | {task_id: median(seconds) for task_id, seconds in self._all.items()}


def medians(
    database: Database, dag_id: str, target: str, *, most_runs: int, enough: int, most_tries: int
) -> dict[str, float]:
    """See :meth:`pydag_gcp.store.Store.durations`."""
    known = Timings()
    for run in database.read(_RECENT, {"of_dag": dag_id, "of_target": target, "most": most_runs}):
        if known.tries >= enough:
            break
        known.add(database, run["run_id"], most=most_tries - known.tries)
    return known.medians()
