"""A plan is executed while people, or whoever collects logs, look on: what ``run``, ``resume`` and ``cancel`` share."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from pydag_gcp.cli_exit import INTERRUPTED, say
from pydag_gcp.errors import PydagError

if TYPE_CHECKING:
    from pathlib import Path

    from pydag_gcp.events import Event, Listener
    from pydag_gcp.log_format import JsonLog
    from pydag_gcp.planner import Plan
    from pydag_gcp.result import RunResult
    from pydag_gcp.resumption import Past
    from pydag_gcp.tries import LogHandler


def choose_log_format(path: Path, log_format: str | None) -> None:
    """Log in the format that an option, or the settings of a pipeline, ask for."""
    from pydag_gcp import log_format as formats
    from pydag_gcp import settings

    if (log_format or settings.load(path).log_format) == formats.JSON:
        formats.structure()


def announce_local_cloud(plan: Plan) -> None:
    """Say that the local cloud is being started, if it will be: the first run of a project has to wait for that."""
    from pydag_gcp.operator import RemoteOperator

    target = plan.clients.target
    remote = any(isinstance(task, RemoteOperator) for task in plan.tasks.values())
    if remote and target.local_home is not None and target.endpoints is None:
        from pydag_gcp.local import daemon

        if daemon.status(target.local_home) is None:
            _say_once("starting the local cloud ...")


@functools.cache
def _say_once(text: str) -> None:
    """Print what holds for all runs of a process."""
    click.echo(text, err=True)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How plans are executed.

    Attributes:
        as_json: Whether stdout is kept for the document.
        max_processors: Most processors that the run may hold.
        wait: Whether to wait for another run of the DAG, instead of refusing to run beside it.
        past: What is known of a run that goes on.
        cancel: Whether it goes on only to end its jobs and to clean up.
    """

    as_json: bool
    max_processors: int | None = None
    wait: bool = False
    past: Past | None = None
    cancel: bool = False

    def of(self, plan: Plan) -> dict[str, Any]:
        """Execute a plan and show its progress; return the document that says what came of it."""
        try:
            with self.watching([plan]) as execute:
                result = execute(plan)
        except PydagError as error:
            return self.refused(plan, error)
        return self.ended(plan, result)

    @contextlib.contextmanager
    def watching(self, plans: Sequence[Plan]) -> Iterator[Callable[[Plan], RunResult]]:
        """Yield what executes one of these plans, from any thread, while people or whoever collects logs look on."""
        from pydag_gcp import log_format

        log = log_format.structured()
        if log is not None:
            yield functools.partial(self._logged, log)
            return
        from pydag_gcp.progress import watch

        names = {plan.run_id: plan.dag.dag_id for plan in plans} if len(plans) > 1 else {}
        with watch(self._stream, names) as progress:
            yield lambda plan: self._execute(plan, progress)

    def refused(self, plan: Plan, error: PydagError | KeyboardInterrupt, *, named: bool = False) -> dict[str, Any]:
        """Say why a run has no result; return the document that says so."""
        code = error.exit_code if isinstance(error, PydagError) else INTERRUPTED
        text = say(error if isinstance(error, PydagError) else "interrupted", name=plan.dag.dag_id if named else "")
        return {"dag_id": plan.dag.dag_id, "run_id": plan.run_id, "error": text, "exit_code": code}

    def ended(self, plan: Plan, result: RunResult, *, named: bool = False) -> dict[str, Any]:
        """Say what came of a run, unless its log did; return the document that says so."""
        from pydag_gcp import log_format

        if log_format.structured() is None:
            from pydag_gcp.summary import summarise

            summarise(result, plan.logs, self._stream, name=plan.dag.dag_id if named else "")
        return {**result.to_json(), "exit_code": _exit_code(result)}

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self.as_json else sys.stdout

    def _logged(self, log: JsonLog, plan: Plan) -> RunResult:
        """Execute a plan where stderr holds lines of JSON: these say it all."""
        from pydag_gcp.log_events import LogEvents

        events = LogEvents(log, plan)
        return self._execute(plan, events, log_handler=events.handler)

    def _execute(self, plan: Plan, listener: Listener, *, log_handler: LogHandler | None = None) -> RunResult:
        from pydag_gcp import executor

        if plan.max_bytes is not None and self.past is None:
            from pydag_gcp.forecast import forecast

            announce_local_cloud(plan)
            forecast(plan).check(plan.max_bytes)
        return executor.execute(
            plan,
            max_processors=self.max_processors,
            listeners=(listener, _Announcing(plan)),
            log_handler=log_handler,
            past=self.past,
            cancel=self.cancel,
            wait=self.wait,
        )


@dataclass(frozen=True)
class _Announcing:
    """Says, once a run has begun, that the local cloud is being started."""

    plan: Plan

    def __call__(self, event: Event) -> None:
        from pydag_gcp.events import RunStarted

        if isinstance(event, RunStarted):
            announce_local_cloud(self.plan)


def _exit_code(result: RunResult) -> int:
    if result.state == "success":
        return 0
    return 1 if result.signal is None else INTERRUPTED
