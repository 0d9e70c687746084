"""What tasks took in earlier runs, as far as the metadata database knows."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from typing import Any

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


def medians(
    database: Database, dag_id: str, target: str, *, most_runs: int, enough: int, most_tries: int
) -> dict[str, float]:
    """See :meth:`pydag_gcp.store.Store.durations`."""
    task_ids: list[str] = []
    took: list[int] = []
    for run in database.rows(_RECENT, {"of_dag": dag_id, "of_target": target, "most": most_runs}):
        if len(took) >= enough:
            break
        of_run = {"of_run": run.run_id, "most": most_tries - len(took)}
        [found] = database.rows(_took(serves=database.serves), of_run)
        task_ids += json.loads(found.task_id or "[]")
        took += json.loads(found.took or "[]")
    seconds = [some / 1000 if some > 0 else 0.0 for some in took]  # a clock may have been set back
    one_each = dict(zip(task_ids, seconds, strict=True))
    if len(one_each) == len(seconds):
        return one_each
    tries_of: defaultdict[str, list[float]] = defaultdict(list)
    for task_id, some in zip(task_ids, seconds, strict=True):
        tries_of[task_id].append(some)
    return {task_id: median(each) for task_id, each in tries_of.items()}


@functools.cache
def _took(*, serves: bool) -> sa.Select[Any]:
    """Asks for the tasks of successful tries, and for milliseconds, as JSON: to read as many rows takes twice as long.

    See https://www.sqlite.org/json1.html#jgrouparray and
    https://www.postgresql.org/docs/current/functions-aggregate.html.
    """
    started, ended = tries.c.started, tries.c.ended
    if serves:
        moment = sa.DateTime(timezone=True)
        took = sa.extract("epoch", sa.cast(ended, moment) - sa.cast(started, moment)) * 1000
    else:
        took = (sa.func.julianday(ended) - sa.func.julianday(started)) * 86_400_000
    some = (
        sa.select(tries.c.task_id, sa.cast(sa.func.round(took), sa.BigInteger).label("took"))
        .where(tries.c.run_id == sa.bindparam("of_run"), _SUCCEEDED)
        .limit(sa.bindparam("most"))
        .subquery()
    )
    listed = sa.func.json_agg if serves else sa.func.json_group_array
    lists: list[sa.ColumnElement[Any]] = [sa.cast(listed(column), sa.Text).label(column.name) for column in some.c]
    return sa.select(*lists)
