"""A run that goes on: what the store knows of it, and whether it may go on as its pipeline now stands."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydag_gcp import outline
from pydag_gcp.dag import DAG
from pydag_gcp.edges import downstream_of
from pydag_gcp.errors import DefinitionError, RunHeld, SettingsError
from pydag_gcp.operator import RemoteOperator
from pydag_gcp.planner import Plan, plan
from pydag_gcp.record import Success
from pydag_gcp.redaction import MASK
from pydag_gcp.result import TaskResult
from pydag_gcp.selection import clusters, reach
from pydag_gcp.settings import Settings
from pydag_gcp.states import BAD, RunState, TaskState
from pydag_gcp.store import Store

#: The error of a try that ended with the process that made it.
INTERRUPTED = "interrupted: its process was gone"


@dataclass(frozen=True, kw_only=True)
class OpenTry:
    """The newest try of a task that has not ended.

    Attributes:
        number: From 1.
        job_id: The id of its remote job; None: it is local work.
        handle: What the service said of the job, once it had accepted it; None: nobody knows whether it did.
        reads: The versions of what it reads, as they were before it was submitted.
        started: When it began.
        over: Whether it has ended, so that another one is to begin.
    """

    number: int
    job_id: str | None
    handle: Mapping[str, Any] | None
    reads: Mapping[str, str | None]
    started: datetime
    over: bool = False

    @property
    def has_job(self) -> bool:
        """Whether a job in the cloud may still run."""
        return self.job_id is not None and not self.over


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the store knows of a run that goes on.

    Attributes:
        state: Its state, as recorded.
        started: When the run did.
        definition: What it was to do, see :func:`pydag_gcp.outline.read`.
        ended: Task id -> what it came to, for tasks that have ended.
        successes: Task id -> which success that was, for those of them that succeeded or were cached.
        open: Task id -> its newest try, for tasks that were started and have not ended.
        tries: Task id -> the number of its newest try.
        free: Task id -> how many of its tries do not count as such: interrupted ones, those before it was run again.
        forgotten: Tasks that had ended, and start again.
        loose: Tasks that were cached, or skipped behind these, and are decided anew.
        stamp: What it was read from: another one means that somebody drove the run meanwhile.
    """

    run_id: str
    state: RunState
    started: datetime
    definition: Mapping[str, Any]
    ended: Mapping[str, TaskResult] = field(default_factory=dict)
    successes: Mapping[str, Success] = field(default_factory=dict)
    open: Mapping[str, OpenTry] = field(default_factory=dict)
    tries: Mapping[str, int] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    stamp: tuple[Any, ...] = ()

    @property
    def known(self) -> dict[str, Success | None]:
        """The current success of each task that has ended; None of one that was skipped or has failed."""
        return {**dict.fromkeys(self.ended), **self.successes}

    @property
    def moments(self) -> dict[str, datetime]:
        """When each task ended that has ended."""
        return {task_id: task.ended for task_id, task in self.ended.items() if task.ended is not None}

    @property
    def begun(self) -> frozenset[str]:
        """The tasks that were started, whether or not they have ended."""
        return frozenset(task_id for task_id in self.tries if task_id in self.open or task_id in self.ended)


def load_past(store: Store, run_id: str) -> Past:
    """Read what the store knows of a run.

    What is cached, and had nothing built on it yet, has not ended, nor what was skipped behind it: it is decided anew.

    Raises:
        SettingsError: There is no such run.
    """
    row = store.run(run_id)
    if row is None:
        raise SettingsError(f"no run {run_id!r}", hint="`pydag runs` lists them")
    tries: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in sorted(store.tries(run_id), key=lambda row: row["try_number"]):  # a clock may go back
        tries[one["task_id"]].append(one)
    rows = store.tasks(run_id)
    ended = {task["task_id"]: _result(task, tries[task["task_id"]]) for task in rows}
    definition = outline.read(json.loads(row["definition"]))
    tried: dict[str, int] = (json.loads(row["options"] or "null") or {}).get("tried", {})
    successes = {
        t: Success(run_id=run_id, try_number=r.tries) for t, r in ended.items() if r.state is TaskState.SUCCESS
    }
    return _undecided(
        Past(
            run_id=run_id,
            state=RunState(row["state"]),
            started=datetime.fromisoformat(row["started"]),
            definition=definition,
            ended=ended,
            successes={**successes, **_cached_successes(store, ended)},
            open={task_id: _open_try(found[-1]) for task_id, found in tries.items() if found and task_id not in ended},
            tries={task_id: found[-1]["try_number"] for task_id, found in tries.items() if found},
            free={task_id: _free(found, tried.get(task_id, 0)) for task_id, found in tries.items()},
            stamp=(row["state"], row["ended"], row["epoch"], sum(map(len, tries.values())), len(rows)),
        )
    )


def _result(task: Mapping[str, Any], tries: Sequence[Mapping[str, Any]]) -> TaskResult:
    return TaskResult(
        task_id=task["task_id"],
        state=TaskState(task["state"]),
        tries=tries[-1]["try_number"] if tries else 0,
        result=json.loads(task["result"]) if task["result"] else None,
        error=task["error"],
        started=datetime.fromisoformat(tries[0]["started"]) if tries else None,
        ended=datetime.fromisoformat(task["ended"]),
        cached_from=task["cached_from"],
        reason=task["reason"] or "",
    )


def _free(tries: Sequence[Mapping[str, Any]], tried: int) -> int:
    """How many tries of a task do not count: those before it was tried again, and interrupted ones."""
    later = [one for one in tries if one["try_number"] > tried]
    return tried + len([one for one in later if one["error"] == INTERRUPTED])


def _open_try(one: Mapping[str, Any]) -> OpenTry:
    return OpenTry(
        number=one["try_number"],
        job_id=one["job_id"],
        handle=json.loads(one["handle"]) if one["handle"] else None,
        reads=json.loads(one["reads"]) if one["reads"] else {},
        started=datetime.fromisoformat(one["started"]),
        over=one["ended"] is not None,
    )


def _cached_successes(store: Store, ended: Mapping[str, TaskResult]) -> dict[str, Success]:
    """Which success stood for each cached task: the last one that it had in the run it was taken from."""
    taken = {task_id: task.cached_from for task_id, task in ended.items() if task.state is TaskState.CACHED}
    last = {
        (run_id, one["task_id"]): one["try_number"]
        for run_id in {run_id for run_id in taken.values() if run_id}
        for one in sorted(store.tries(run_id), key=lambda row: row["try_number"])
        if one["state"] == TaskState.SUCCESS
    }
    found = {task_id: (run_id, last.get((run_id, task_id))) for task_id, run_id in taken.items() if run_id}
    return {t: Success(run_id=run_id, try_number=number) for t, (run_id, number) in found.items() if number is not None}


def _undecided(past: Past) -> Past:
    """Leave out the cached tasks behind which nothing has begun, and what was skipped there: it may follow."""
    downstream = downstream_of(past.definition["upstream"])
    cached = {
        task_id
        for task_id, task in past.ended.items()
        if task.state is TaskState.CACHED and past.begun.isdisjoint(reach([task_id], downstream))
    }
    behind = reach(cached, downstream) & past.ended.keys()
    loose = cached | {task_id for task_id in behind if past.ended[task_id].state is TaskState.SKIPPED}
    ended = {task_id: task for task_id, task in past.ended.items() if task_id not in loose}
    return replace(past, ended=ended, loose=frozenset(loose))


def plan_again(dag: DAG, settings: Settings, row: Mapping[str, Any]) -> Plan:
    """Plan a run that goes on: with its id, logical date, params and options.

    Args:
        dag: The pipeline as it now stands.
        settings: Of its project.
        row: The run, from :meth:`Store.run`.

    Raises:
        DefinitionError: See :func:`pydag_gcp.planner.plan`.
        SettingsError: The target's settings contradict each other; or a param held a secret, which is not recorded.
    """
    options: dict[str, Any] = json.loads(row["options"]) if row["options"] else {}
    params: dict[str, Any] = options.get("params", {})
    for name in [name for name, value in params.items() if MASK in json.dumps(value)]:
        what = f"cannot be planned again: param {name!r} held a secret, which is not recorded"
        raise SettingsError(what, where=f"run {row['run_id']}", hint="refer to secrets: secret('env:NAME')")
    planned = plan(
        dag,
        settings,
        target=row["target"],
        params=params,
        logical_date=datetime.fromisoformat(row["logical_date"]),
        only=options.get("only", ()),
        start_from=options.get("start_from", ()),
        cache=options.get("cache", True),
        max_bytes=options.get("max_bytes"),
        run_id=row["run_id"],
    )
    return replace(planned, dated=options.get("dated", planned.dated))


def refuse_changes(planned: Plan, past: Past) -> None:
    """Make sure that a run goes on as what it began as.

    Raises:
        DefinitionError: A task that has not ended is another one than recorded; names them and what changed.
    """
    waiting = [task_id for task_id in planned.tasks if task_id not in past.ended]
    changes = outline.changes(planned, past.definition, waiting)
    changes |= {
        task_id: ["is no longer there"]
        for task_id in past.definition["tasks"]
        if task_id not in past.ended and task_id not in planned.tasks
    }
    told = [f"{task_id!r} ({', '.join(found)})" for task_id, found in changes.items()]
    if told:
        what = f"cannot go on with what it began as: changed since: {'; '.join(told)}"
        hint = f"undo that, or start a new run; `pydag cancel {past.run_id}` ends this one"
        raise DefinitionError(what, where=f"run {past.run_id}", hint=hint)


def check_unchanged(store: Store, past: Past) -> None:
    """Make sure, once nobody else can drive a run, that nobody did since it was read.

    Raises:
        RunHeld: Somebody did.
    """
    now = load_past(store, past.run_id)
    if now.stamp != past.stamp:
        what = f"run {past.run_id} was driven by another process just now, and is {now.state.value}"
        raise RunHeld(what, hint=f"pydag show {past.run_id}")


def check_jobs(planned: Plan, past: Past) -> None:
    """Make sure that each job which may still run belongs to a task that can look after it.

    Raises:
        DefinitionError: A task is gone, or does local work now; names the job and the way out.
    """
    for task_id, one in past.open.items():
        if one.has_job and not isinstance(planned.tasks.get(task_id), RemoteOperator):
            what = f"job {one.job_id} of task {task_id!r} may still run, but the pipeline has no such task any more"
            hint = f"put it back, or end the run on record only: pydag cancel --forget {past.run_id}"
            raise DefinitionError(what, where=f"run {past.run_id}", hint=hint)


def run_again(past: Past, planned: Plan) -> Past:
    """Let what did not succeed in an ended run start again: ``run --retry-failed``.

    Tasks that failed, were cancelled, or were not started for that reason; what was skipped below these; and around
    them teardowns, and the setups that these have undone. A job that was left alone, and may still run, is taken up.

    Raises:
        SettingsError: The run has not ended, so it is one to resume; or nothing of it failed.
    """
    where = f"run {past.run_id}"
    if past.state in (RunState.RUNNING, RunState.INTERRUPTED):
        raise SettingsError("has not ended", where=where, hint=f"go on with it: pydag resume {past.run_id}")
    ended = {task_id: task.state for task_id, task in past.ended.items() if task_id in planned.tasks}
    failed = {task_id for task_id, state in ended.items() if state in BAD}
    if not failed and past.state is RunState.SUCCESS:
        raise SettingsError("has no task that failed", where=where, hint="start a new run")
    downstream = downstream_of(planned.upstream)
    below = reach(failed, downstream)
    again = failed | {task_id for task_id in below if ended.get(task_id) is TaskState.SKIPPED}
    again |= _around(again, ended, planned, downstream)
    return replace(
        past,
        ended={task_id: past.ended[task_id] for task_id in ended if task_id not in again},
        open={task_id: one for task_id, one in past.open.items() if one.has_job},
        free={**past.free, **past.tries},
        forgotten=frozenset(again & ended.keys()),
    )


def _around(
    again: set[str],
    ended: Mapping[str, TaskState],
    planned: Plan,
    downstream: Mapping[str, Sequence[str]],
) -> set[str]:
    """The teardowns of setups that are needed again, and those of the setups that are undone.

    Whether a service is still there is asked later, see :mod:`pydag_gcp.preparation`.
    """
    around: set[str] = set()
    for teardown, setups in planned.teardowns.items():
        if not (reach(setups, downstream) & again) - planned.teardowns.keys():
            continue
        around.add(teardown)
        if ended.get(teardown) is TaskState.SUCCESS:
            around.update(setup for setup in setups if not _is_service(planned, setup))
    return around


def _is_service(planned: Plan, task_id: str) -> bool:
    return bool(clusters(planned.tasks[task_id].writes(planned.context_of(task_id))))
