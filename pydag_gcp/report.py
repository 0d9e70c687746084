"""What ran, for people: a list of runs, or all that is known of one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pydag_gcp.board import duration, one_line
from pydag_gcp.console import console_on
from pydag_gcp.gantt import chart
from pydag_gcp.past_run import PastRun, PastTask, PastTry, result_of
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.streams import is_terminal, speaks_unicode
from pydag_gcp.styles import STYLES
from pydag_gcp.summary import ROWS, choose, near, verdict

#: Width of a chart where there is no terminal.
_WIDTH = 100

_STYLES = {
    RunState.RUNNING: "cyan",
    RunState.SUCCESS: "green",
    RunState.FAILED: "bold red",
    RunState.CANCELLED: "yellow",
    RunState.INTERRUPTED: "yellow",
}


def list_runs(runs: Sequence[PastRun], now: datetime, stream: TextIO) -> None:
    """Print a table of runs.

    Args:
        runs: The runs.
        now: Until when those that go on have taken.
        stream: Where to print.
    """
    console = console_on(stream)
    if not runs:
        console.print("no runs")
        return
    table = _table("run", "dag", "target", "state", "logical date", "started")
    table.columns[0].no_wrap = True  # so that it can be copied whole
    table.add_column("duration", justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            run.run_id,
            run.dag_id,
            run.target,
            Text(run.state.value, _STYLES[run.state]),
            f"{run.logical_date:%Y-%m-%dT%H:%M:%S}",
            _local(run.started),
            _took(run, now),
        )
    console.print(table)


def show_run(run: PastRun, tasks: Mapping[str, PastTask], now: datetime, stream: TextIO) -> None:
    """Print all that is known of a run.

    Args:
        run: The run.
        tasks: Its tasks.
        now: Until when what goes on has taken.
        stream: Where to print.
    """
    console = console_on(stream)
    _print_head(console, run, tasks, now)
    shown = [tasks[task.task_id] for task in choose(result_of(run, tasks, now))]
    console.print(_tries(shown, now if run.state is RunState.RUNNING else None))
    if len(shown) < len(tasks):
        console.print(f"({len(shown)} of {len(tasks)} tasks, at most {ROWS}: those that failed or took longest)")
    for one in (one for task in shown for one in task.tries if one.error):
        _print_error(console, one)
    console.print()
    end = run.ended or (now if run.state is RunState.RUNNING else _last_sign(run, tasks))
    width = console.width if is_terminal(stream) else shutil.get_terminal_size((_WIDTH, 24)).columns
    for line in chart(shown, start=run.started, end=end, width=width, ascii_only=not speaks_unicode(stream)):
        console.print(line, soft_wrap=True)
    if run.ended:
        console.print()
        console.print(Text.assemble(*verdict(result_of(run, tasks, now))))


def _print_head(console: Console, run: PastRun, tasks: Mapping[str, PastTask], now: datetime) -> None:
    head = Text(f"run {run.run_id} of {run.dag_id} on {run.target}: ", "bold")
    console.print(head.append(run.state.value, _STYLES[run.state]))
    took = _took(run, now)
    facts = [f"logical date {run.logical_date:%Y-%m-%dT%H:%M:%S}", f"started {_local(run.started)}"]
    facts += [f"took {took}" if run.ended else f"for {took}"] if took else []
    console.print(", ".join(facts))
    if run.error:
        console.print(Text(one_line(run.error), "red"))
    if run.state is RunState.RUNNING:
        console.print(f"process {run.pid} on {run.host}{', asked to cancel it' if run.cancelling else ''}")
    elif jobs := [one.job_id for task in tasks.values() for one in task.tries if one.job_id and not one.ended]:
        console.print(Text(f"jobs that nobody watches any more: {', '.join(jobs)}", "yellow"))
    if run.state is RunState.INTERRUPTED and not run.ended:  # else the last line says so
        console.print(f"`pydag resume {run.run_id}` goes on with it, `pydag cancel {run.run_id}` ends it")
    if run.logs.exists():
        console.print(Text(f"logs: {near(run.logs)}", "dim"), soft_wrap=True)
    console.print()


def _tries(tasks: Sequence[PastTask], now: datetime | None) -> Table:
    table = _table("task", "operator", "state")
    table.add_column("try", justify="right", no_wrap=True)
    table.add_column("duration", justify="right", no_wrap=True)
    table.add_column("job", overflow="fold")
    for task in tasks:
        name, operator = task.task_id, task.operator
        for state, number, took, job in _rows(task, now):
            table.add_row(name, operator, Text(state.value, STYLES[state]), number, took, job)
            name = operator = ""
    return table


def _rows(task: PastTask, now: datetime | None) -> Iterator[tuple[TaskState, str, str, str]]:
    """A row for every try; the last tells the state of the task. Without a now, nothing goes on."""
    if not task.tries:
        yield task.state, "", "", f"from run {task.cached_from}" if task.cached_from else ""
    for one in task.tries:
        last = one is task.tries[-1]
        until = one.ended or (now if last else None)
        took = duration((until - one.started).total_seconds()) if until else ""
        yield task.state if last else one.state, str(one.number), took, one.job_id or ""


def _print_error(console: Console, one: PastTry) -> None:
    text = Text(f"{one.task_id}, try {one.number}: ", style="bold red")
    console.print(text.append(one_line(one.error or ""), style="not bold"))
    if one.log.exists():
        console.print(Text(f"  log: {near(one.log)}", style="dim"), soft_wrap=True)


def _last_sign(run: PastRun, tasks: Mapping[str, PastTask]) -> datetime:
    """When a run whose end nobody saw was last known to go on."""
    tries = [one for task in tasks.values() for one in task.tries]
    seen = [moment for one in tries for moment in (one.started, one.submitted, one.ended) if moment]
    return max(seen, default=run.started)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _took(run: PastRun, now: datetime) -> str:
    seconds = run.seconds(now)
    return "" if seconds is None else duration(seconds)
