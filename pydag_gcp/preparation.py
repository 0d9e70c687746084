"""What comes before a run's first task: its target is reached, its files are read, its tasks are decided."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydag_gcp import datasets, durations
from pydag_gcp.decision import Verdict
from pydag_gcp.edges import downstream_of
from pydag_gcp.errors import RunFailed, TaskError
from pydag_gcp.fetching import fetch
from pydag_gcp.operator import Operator, RemoteOperator
from pydag_gcp.output import Output
from pydag_gcp.planner import Plan
from pydag_gcp.redaction import MASK
from pydag_gcp.resources import Cluster
from pydag_gcp.resumption import Past
from pydag_gcp.retry import asking_again
from pydag_gcp.selection import clusters, of_kind, reach
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store
from pydag_gcp.verdicts import Verdicts

# To look up a member of an enum takes longer than to use it, and this is done for every task.
_CACHED = Verdict.CACHED


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What preparing a run has shown.

    Attributes:
        warnings: What the author should know.
        repeat: Services that had been started, are gone, and are needed again.
        rest: The tasks that are not going to run: they have ended, or are cached.
        durations: Task id -> the seconds that it usually takes, as far as is known.
    """

    warnings: tuple[str, ...]
    repeat: frozenset[str] = frozenset()
    rest: Collection[str] = ()
    durations: Mapping[str, float] = field(default_factory=dict)


def prepare(plan: Plan, verdicts: Verdicts, past: Past | None, store: Store, *, cancel: bool) -> Prepared:
    """Prepare a run; called beside the thread that hears signals.

    Args:
        plan: What the run does.
        verdicts: Where it is decided what becomes of its tasks.
        past: What is known of the run if it goes on.
        store: Where earlier runs are recorded.
        cancel: Whether it goes on only to end its jobs.

    Raises:
        TargetUnreachable: The target does not answer.
        DefinitionError: A file in a bucket is not there, or wrong.
        SettingsError: A dataset is missing and may not be created.
        RunFailed: What had been taken from an earlier run no longer stands for what it stood for.
        StoreError: The metadata database failed.
    """
    remote = bool(of_kind(plan.tasks, RemoteOperator))
    if remote:  # local work that needs the cloud will find out
        plan.clients.check()
    warnings = list(fetch(plan) if remote else plan.warnings)
    for task_id, one in past.open.items() if past else ():
        verdicts.had_begun(task_id, one.reads if one.has_job else None)
    if cancel:
        return Prepared(warnings=tuple(warnings))
    warnings += verdicts.decide(past.moments, since=past.started) if past else verdicts.decide()
    if past is not None:
        _check_standing(past, verdicts)
        _check_outputs(plan, past)
    rest = _not_to_run(plan, verdicts, past)
    if remote:
        runs = [task_id for task_id in plan.tasks if task_id not in rest]
        created = datasets.ensure(plan.clients, plan.written_tables(runs))
        warnings += [f"created missing dataset {dataset}" for dataset in created]
    return Prepared(
        warnings=tuple(warnings),
        repeat=_gone(plan, past, rest) if past else frozenset(),
        rest=rest,
        durations=durations.known(plan, store),
    )


def _not_to_run(plan: Plan, verdicts: Verdicts, past: Past | None) -> set[str]:
    """The tasks that have ended, or are cached: all others will run, or may."""
    if verdicts.idle and past is None:
        return set()
    ended: Collection[str] = past.ended if past else ()
    return {task_id for task_id in plan.tasks if task_id in ended or verdicts.of(task_id).verdict is _CACHED}


def _check_standing(past: Past, verdicts: Verdicts) -> None:
    """What has ended must still stand, where what is written over it is still to come.

    What was cached may not for the sake of this very run, whose tasks write what others have read before.

    Raises:
        RunFailed: A task has to run on top of what is not what it was.
    """

    def waits(task_id: str) -> bool:
        return task_id not in past.ended and verdicts.of(task_id).verdict is not Verdict.CACHED

    for task_id, task in past.ended.items():
        if not any(map(waits, verdicts.made_with(task_id))):
            continue
        decision, newest = verdicts.of(task_id), verdicts.newest_run(task_id)
        why = ""
        if task.state is TaskState.CACHED and task.cached_from and decision.verdict is Verdict.RUN:
            why = f"task {task_id!r} was taken from run {task.cached_from}, but now: {decision.reason}"
        elif task.state is TaskState.SUCCESS and newest not in (None, past.run_id):
            why = f"run {newest} has made anew what task {task_id!r} had made"
        if why:
            raise RunFailed(f"cannot go on, as {why}", where=f"run {past.run_id}", hint="start a new run")


def _check_outputs(plan: Plan, past: Past) -> None:
    """What tasks that still have to start take from those that have ended must be known.

    Raises:
        RunFailed: It held a secret.
    """
    for task_id, task in plan.tasks.items():
        sent = task_id in past.open and past.open[task_id].has_job
        taken = [value for value in task.runtime_values if isinstance(value, Output) and value.upstream in past.ended]
        for output in () if sent or task_id in past.ended else taken:
            with contextlib.suppress(TaskError):  # that it has no such part is for the task to tell
                if MASK in json.dumps(output.resolve(plan.context_of(task_id))):
                    what = f"task {task_id!r} takes {output!r}, which held a secret and is not recorded"
                    raise RunFailed(f"cannot go on, as {what}", where=f"run {past.run_id}", hint="start a new run")


def _gone(plan: Plan, past: Past, rest: Collection[str]) -> frozenset[str]:
    """The services that had been started and that tasks still need, but that are not there any more."""
    downstream = downstream_of(plan.upstream)
    gone = []
    for task_id, task in plan.tasks.items():
        made = clusters(task.writes(plan.context_of(task_id)))
        if task_id not in past.ended or not made or not past.ended[task_id].state.good:
            continue
        users = (other for other in reach([task_id], downstream) - {task_id} if other not in rest)
        if any(_uses(plan, plan.tasks[other], made) for other in users):
            there = asking_again(plan.clients.revive)(task.fulfilled, plan.context_of(task_id))
            gone += [] if there else [task_id]
    return frozenset(gone)


def _uses(plan: Plan, task: Operator, made: Collection[Cluster]) -> bool:
    ctx = plan.context_of(task.task_id)
    return not (clusters(task.uses(ctx)) - clusters(task.writes(ctx))).isdisjoint(made)
