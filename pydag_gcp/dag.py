"""The DAG: a pipeline's id, tasks, edges and defaults."""

from __future__ import annotations

import contextlib
import graphlib
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, cast

from pydantic import TypeAdapter, ValidationError

from pydag_gcp import excepthook
from pydag_gcp.edges import in_order
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
from pydag_gcp.garbage import Frozen, seldom
from pydag_gcp.identity import ID, ID_IN_WORDS
from pydag_gcp.operator import SERVICES, Operator, RemoteOperator, current_dag
from pydag_gcp.output import Output
from pydag_gcp.retry import NO_RETRY, Retry
from pydag_gcp.source import Source, calling_line

if TYPE_CHECKING:
    from pydag_gcp.result import RunResult

#: Whether a pipeline file is being executed only for the DAG that it defines.
loading: ContextVar[bool] = ContextVar("loading", default=False)

#: Tasks of a cycle that an error names, at most.
_MOST_NAMED = 20


class DAG:
    """A pipeline: ``with DAG("daily") as dag:`` takes in the tasks that are constructed inside.

    Args:
        dag_id: Unique name: a letter, then letters, digits, ``-`` or ``_`` (at most 200).
        schedule: A cron expression in UTC; gives runs their default logical date.
        retry: The retry policy of tasks that have none.
        params: Names and default values of the parameters that ``--param`` may set; a value given is converted to
            the type of the default.
        description: What it is for.
        max_processors: Most processors that a run of this DAG may hold.
        weight: Its share of processors that several runs want, in proportion to the weights of the others.
        limits: Service -> most jobs of that service that a run has in flight: ``{"bigquery": 20}``.
        on_sigterm: ``detach`` leaves remote jobs running when the process is told to stop, ``cancel`` cancels them.
        infer: Add the edges that follow from what tasks read and write: the run then equals running the tasks one after
            another in the order written.

    Raises:
        DefinitionError: The id or the schedule is malformed, or a number is out of bounds.
    """

    def __init__(
        self,
        dag_id: str,
        *,
        schedule: str | None = None,
        retry: Retry | None = None,
        params: Mapping[str, Any] | None = None,
        description: str = "",
        max_processors: int | None = None,
        weight: float = 1.0,
        limits: Mapping[str, int] | None = None,
        on_sigterm: Literal["detach", "cancel"] = "detach",
        infer: bool = False,
    ) -> None:
        self.source: Source = calling_line()
        excepthook.install(self.source.file)
        self.dag_id = dag_id
        self.schedule = schedule
        self.retry = retry or NO_RETRY
        self.params: dict[str, Any] = dict(params or {})
        self.description = description
        self.max_processors = max_processors
        self.weight = weight
        #: Service -> most of its jobs that a run has in flight.
        self.limits: Mapping[str, int] = limits or {}
        self.on_sigterm = on_sigterm
        self.infer = infer
        #: The only project it can run in, where its definition names one; the local cloud pretends to be it.
        self.project: str | None = None
        self.tasks: dict[str, Operator] = {}
        #: Lists only where edges were added since :attr:`upstream` was last asked for.
        self._upstream: dict[str, tuple[str, ...] | list[str]] = {}
        #: Whether somebody has :attr:`_upstream`, so that it stays as it is.
        self._given = False
        self._taken: dict[str, int] = {}
        #: What ends with each ``with`` block of it that is open.
        self._entered: list[contextlib.ExitStack] = []
        if not isinstance(dag_id, str) or not re.fullmatch(ID, dag_id):
            raise self.error(f"dag_id must be {ID_IN_WORDS}, got {dag_id!r}")
        if max_processors is not None and not _is_count(max_processors):
            raise self.error(f"max_processors must be a whole number of at least 1, got {max_processors!r}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < math.inf:
            raise self.error(f"weight must be a number above 0, got {weight!r}")
        self._check_limits(limits or {})
        if schedule is not None:
            self._check_schedule(schedule)

    def __enter__(self) -> Self:
        entered = contextlib.ExitStack()
        entered.enter_context(seldom())
        entered.enter_context(Frozen())  # of 100,000 tasks none is garbage
        entered.callback(current_dag.reset, current_dag.set(self))
        self._entered.append(entered)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.pop().close()

    @property
    def file(self) -> Path:
        """The pipeline file."""
        return Path(self.source.file)

    @property
    def upstream(self) -> Mapping[str, tuple[str, ...]]:
        """Task id -> ids of its upstreams, both in the order of definition; as it is now."""
        if not self._given:
            for task_id, above in self._upstream.items():
                if isinstance(above, list):
                    self._upstream[task_id] = tuple(dict.fromkeys(above))
            self._given = True
        return cast("Mapping[str, tuple[str, ...]]", self._upstream)

    def error(self, what: str, *, hint: str | None = None) -> DefinitionError:
        """Make an error that names the line of this DAG."""
        return DefinitionError(f"DAG {self.dag_id!r}: {what}", where=self.source.place(), hint=hint)

    def add(self, task: Operator) -> None:
        """Take a task in.

        Raises:
            DefinitionError: Another task has its id.
        """
        task_id, values, tasks = task.task_id, task.runtime_values, self.tasks
        if task_id in tasks:
            where = task.source.place(task=task_id)
            line = tasks[task_id].source.line
            raise DefinitionError(f"another task has this id, defined at line {line}", where=where)
        above = task.teardown_of
        for value in values:
            if isinstance(value, Output) and value.task not in (None, tasks.get(value.task_id)):
                raise self._foreign(value.task)
        if values:
            above = (*(value.upstream for value in values if value.upstream is not None), *above)
        self._own_upstream()[task_id] = [*above] if above else ()
        tasks[task_id] = task
        object.__setattr__(task, "_dag", self)

    def connect(self, upstream: Operator, downstream: Operator) -> None:
        """Add an edge: ``downstream`` waits for ``upstream``.

        Raises:
            DefinitionError: One of them is in another DAG or in none.
        """
        tasks = self.tasks
        try:
            first, second = upstream.task_id, downstream.task_id
            taken_in = tasks[first] is upstream and tasks[second] is downstream
        except (AttributeError, KeyError):
            taken_in = False
        if not taken_in:
            both = (upstream, downstream)
            raise self._foreign(next(task for task in both if tasks.get(getattr(task, "task_id", "")) is not task))
        edges = self._own_upstream() if self._given else self._upstream
        above = edges[second]
        if isinstance(above, list):
            above.append(first)
        else:
            edges[second] = [*above, first]

    def _own_upstream(self) -> dict[str, tuple[str, ...] | list[str]]:
        """The edges, to be changed: what somebody has asked for stays as it was."""
        if self._given:
            self._upstream, self._given = {**self._upstream}, False
        return self._upstream

    def free_id(self, name: str) -> str:
        """Return ``name``, or ``name__1``, ``name__2``, ...: the first that no task has.

        As Airflow does: https://airflow.apache.org/docs/apache-airflow/stable/tutorial/taskflow.html
        """
        free, number = name, self._taken.get(name, 0)
        while free in self.tasks:
            number += 1
            free = f"{name}__{number}"
        self._taken[name] = number
        return free

    def retry_of(self, task: Operator) -> Retry:
        """The policy that holds for a task."""
        return task.retry or self.retry

    def check(self) -> None:
        """Check the shape of the graph.

        Raises:
            DefinitionError: It has no tasks, a limit of a service that there is not, or a cycle, which is printed.
        """
        if not self.tasks:
            raise self.error("has no tasks")
        self._check_services()
        upstream = self.upstream
        for task in self.tasks.values():
            if task.teardown_of:
                self._check_upstreams(task, task.teardown_of)
        if in_order(upstream):
            return
        for task_id, above in upstream.items():
            self._check_upstreams(self.tasks[task_id], above)
        sorter = graphlib.TopologicalSorter(upstream)
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            cycle: list[str] = error.args[1]
            if len(cycle) > _MOST_NAMED:
                cycle[_MOST_NAMED // 2 : -_MOST_NAMED // 2] = [f"... ({len(cycle) - _MOST_NAMED} more)"]
            raise self.error(f"has a cycle: {' -> '.join(cycle)}", hint="remove one of these edges") from None

    def _foreign(self, task: object) -> DefinitionError:
        """Say why something can have no edge here."""
        if not isinstance(task, Operator):
            name = getattr(task, "__name__", repr(task))
            hint = f"call it: {name}()" if callable(task) else "join tasks: a >> b, a >> [b, c]"
            return DefinitionError(f"{name} is no task", where=calling_line().place(), hint=hint)
        where = task.source.place(task=task.task_id)
        return DefinitionError(f"is not in DAG {self.dag_id!r}, so no edge can join it", where=where)

    def _check_limits(self, limits: object) -> None:
        if not isinstance(limits, Mapping):
            raise self.error(f"limits must be numbers by service, got {limits!r}", hint='write {"bigquery": 20}')
        for service, most in limits.items():
            if not _is_count(most):
                raise self.error(f"limits: {service!r} must be a whole number of at least 1, got {most!r}")

    def _check_services(self) -> None:
        """Only now is it known which services there are: operators of the author's own may bring some."""
        if self.limits.keys() <= set(SERVICES):
            return
        known = {*SERVICES, *(task.service for task in self.tasks.values() if isinstance(task, RemoteOperator))}
        for service in self.limits.keys() - known:
            raise self.error(f"limits: no service {service!r}", hint=did_you_mean_one_of(service, sorted(known)))

    def _check_upstreams(self, task: Operator, above: Iterable[str]) -> None:
        for other in above:
            if other not in self.tasks:
                hint = did_you_mean_one_of(other, self.tasks)
                where = task.source.place(task=task.task_id)
                raise DefinitionError(f"no task {other!r} in the DAG to wait for", where=where, hint=hint)
            if other in task.teardown_of and self.tasks[other].teardown_of:
                what = f"cannot clean up after {other!r}, which is a teardown itself"
                hint = f"write it downstream of {other!r}, without teardown_of"
                raise DefinitionError(what, where=task.source.place(task=task.task_id), hint=hint)

    def resolve_params(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """Put given values over the defaults, converted to the types of these.

        Raises:
            DefinitionError: A name is unknown, or a value does not fit.
        """
        resolved = dict(self.params)
        for name, value in (given or {}).items():
            if name not in self.params:
                hint = did_you_mean_one_of(name, self.params) if self.params else "the DAG has no params"
                raise self.error(f"no param {name!r}", hint=hint)
            resolved[name] = self._convert(name, value)
        return resolved

    def interval(
        self, logical_date: datetime | None = None, *, now: datetime | None = None
    ) -> tuple[datetime, datetime]:
        """Return start and end of the data interval of a run, in UTC; the start is its logical date.

        Without ``logical_date`` it is the last complete interval of the schedule; without a schedule, now.
        """
        now = now or datetime.now(UTC)
        if self.schedule is None:
            start = _utc(logical_date or now)
            return start, start
        from cronsim import CronSim

        if logical_date is not None:
            start = _utc(logical_date)
            return start, next(CronSim(self.schedule, start))
        ticks = CronSim(self.schedule, now + timedelta(seconds=1), reverse=True)
        end = next(ticks)
        return next(ticks), end

    def run(
        self,
        target: str | None = None,
        *,
        max_processors: int | None = None,
        params: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        only: Sequence[str] = (),
        start_from: Sequence[str] = (),
        cache: bool = True,
    ) -> RunResult:
        """Run the DAG and wait for its end.

        Args:
            target: ``local`` or a GCP project; default: the setting.
            max_processors: Most processors it may hold.
            params: Values over the defaults.
            logical_date: Start of the data interval.
            only: Ids of the tasks to run; default: all.
            start_from: Ids of tasks to run with all that is downstream of them.
            cache: False: run every task, whatever earlier runs recorded.

        Raises:
            DefinitionError: Something is wrong that can be seen before anything runs.
            SettingsError: The settings contradict themselves or the target.
            TargetUnreachable: Nothing ran, because the target does not answer.
            JobUnsettled: The target does not tell what became of a job; the run is interrupted.
            RunHeld: Nothing ran, because another run of this DAG is active on the target.
        """
        from pydag_gcp import planner, settings
        from pydag_gcp.executor import execute

        self._refuse_while_loading()
        loaded = settings.load(self.file)
        plan = planner.plan(
            self,
            loaded,
            target=target,
            params=params,
            logical_date=logical_date,
            only=only,
            start_from=start_from,
            cache=cache,
        )
        return execute(plan, max_processors=max_processors)

    def cli(self) -> NoReturn:
        """Be the command ``pydag run`` for this DAG: the same options, output and exit codes."""
        from pydag_gcp.cli_run import run_dag

        self._refuse_while_loading()
        sys.exit(run_dag(self))

    def _refuse_while_loading(self) -> None:
        if loading.get():
            hint = 'put that below `if __name__ == "__main__":`'
            raise DefinitionError(f"DAG {self.dag_id!r} is run while it is loaded", hint=hint)

    def _check_schedule(self, schedule: str) -> None:
        from cronsim import CronSim, CronSimError

        try:
            CronSim(schedule, datetime.now(UTC))
        except (CronSimError, AttributeError, TypeError) as error:
            hint = "write five fields, such as '0 6 * * *'"
            raise self.error(f"schedule {schedule!r} is no cron expression ({error})", hint=hint) from None

    def _convert(self, name: str, value: Any) -> Any:
        default = self.params[name]
        kind = type(default)
        if default is None or isinstance(value, kind):
            return value
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        read = adapter.validate_strings if isinstance(value, str) and kind in _SCALARS else adapter.validate_python
        try:
            return read(value)
        except ValidationError:
            raise self.error(f"param {name!r}: expected {_SCALARS.get(kind, kind.__name__)}, got {value!r}") from None


_SCALARS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    date: "a date",
    datetime: "a date and time",
}


def _is_count(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
