"""How tasks ended: those that ended with a try have it in the row of that, the others in a row of their own.

So what nearly every task does takes one row, not two. A task that ended more than once ended as it did last, by the
clock; as those of machines differ, whoever lets a task start again first takes back that it has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from pydag_gcp.states import TaskState
from pydag_gcp.tables import runs, tasks, tries

_GOOD = (TaskState.SUCCESS.value, TaskState.CACHED.value)


def of_run(run_id: str) -> sa.Select[Any]:
    """The ends of a run's tasks, in their order."""
    return _last(lambda table: table.c.run_id == run_id).order_by("ended")


def last_good(dag_id: str, target: str, task_id: str) -> sa.Select[Any]:
    """The newest success of a task over all runs of a DAG on a target."""
    of_dag = sa.select(runs.c.run_id).where(runs.c.dag_id == dag_id, runs.c.target == target)
    ends = _last(lambda table: table.c.run_id.in_(of_dag) & (table.c.task_id == task_id))
    return ends.where(ends.selected_columns.state.in_(_GOOD)).order_by(sa.desc("ended")).limit(1)


def _last(which: Callable[[sa.Table], sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """The last end of each task of each run, of those that are in the rows asked for of either table."""
    taken = {column.name: tries.c.get(column.name, sa.null().label(column.name)) for column in tasks.c}
    with_try = sa.select(*taken.values()).where(which(tries), tries.c.result.is_not(None))
    ends = sa.union_all(sa.select(tasks).where(which(tasks)), with_try).subquery()
    place = sa.func.row_number().over(partition_by=(ends.c.run_id, ends.c.task_id), order_by=ends.c.ended.desc())
    ranked = sa.select(ends, place.label("place")).subquery()
    return sa.select(*(ranked.c[name] for name in taken)).where(ranked.c.place == 1)
