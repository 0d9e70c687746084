"""A plan is executed while people, or whoever collects logs, look on: what ``run``, ``resume`` and ``cancel`` share."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pydag_gcp.cli_exit import INTERRUPTED, say
from pydag_gcp.errors import PydagError

if TYPE_CHECKING:
    from pathlib import Path

    from pydag_gcp.events import Event
    from pydag_gcp.planner import Plan
    from pydag_gcp.result import RunResult
    from pydag_gcp.resumption import Past


def choose_log_format(path: Path, log_format: str | None) -> None:
    """Log in the format that an option, or the settings of a pipeline, ask for."""
    from pydag_gcp import log_format as formats
    from pydag_gcp import settings

    if (log_format or settings.load(path).log_format) == formats.JSON:
        formats.structure()


def announce_local_cloud(plan: Plan) -> None:
    """Say that the local cloud is being started, where it will be: the first run of a project has to wait for that."""
    from pydag_gcp.operator import RemoteOperator

    target = plan.clients.target
    remote = any(isinstance(task, RemoteOperator) for task in plan.tasks.values())
    if remote and target.local_home is not None and target.endpoints is None:
        from pydag_gcp.local import daemon

        if daemon.status(target.local_home) is None:
            click.echo("starting the local cloud ...", err=True)


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
            result = self._logged(plan) or self._watched(plan)
        except PydagError as error:
            code = error.exit_code
            return {"dag_id": plan.dag.dag_id, "run_id": plan.run_id, "error": say(error), "exit_code": code}
        return {**result.to_json(), "exit_code": _exit_code(result)}

    def _logged(self, plan: Plan) -> RunResult | None:
        """Execute a plan where stderr holds lines of JSON: these say it all."""
        from pydag_gcp import executor, log_format

        log = log_format.structured()
        if log is None:
            return None
        from pydag_gcp.log_events import LogEvents

        events = LogEvents(log, plan)
        return executor.execute(
            plan,
            max_processors=self.max_processors,
            listeners=(events, _Announcing(plan)),
            log_handler=events.handler,
            past=self.past,
            cancel=self.cancel,
            wait=self.wait,
        )

    def _watched(self, plan: Plan) -> RunResult:
        """Execute a plan where people look on."""
        from pydag_gcp import executor
        from pydag_gcp.progress import watch
        from pydag_gcp.summary import summarise

        stream = sys.stderr if self.as_json else sys.stdout
        with watch(stream) as progress:
            result = executor.execute(
                plan,
                max_processors=self.max_processors,
                listeners=(progress, _Announcing(plan)),
                past=self.past,
                cancel=self.cancel,
                wait=self.wait,
            )
        with contextlib.suppress(BrokenPipeError):
            summarise(result, plan.settings.home / "logs" / result.dag_id / result.run_id, stream)
        return result


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
