"""What a run came to, for people: a table of its tasks, the errors, the makespan beside the critical path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pydag_gcp.board import duration, name_some, one_line
from pydag_gcp.progress import STYLES, console_for, is_terminal
from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.states import BAD, RunState, TaskState

#: Most tasks that the table shows.
ROWS = 100
#: Most tasks of the critical path that are named.
_STEPS = 12
#: Off a terminal nothing wraps: one error, one line.
_WIDE = 100_000


def summarise(result: RunResult, logs: Path, stream: TextIO) -> None:
    """Print what a run came to.

    Args:
        result: The run.
        logs: The folder of its log files.
        stream: Where to print.
    """
    console = console_on(stream)
    shown = choose(result)
    console.print()
    console.print(_table(shown))
    if len(shown) < len(result.tasks):
        console.print(f"({len(shown)} of {len(result.tasks)} tasks: those that failed or took longest)")
    for task in result.tasks.values():
        if task.error:
            _print_error(console, task, logs)
    console.print(verdict(result))


def console_on(stream: TextIO) -> Console:
    """Print to a stream: on a terminal as wide as this is, elsewhere without an end."""
    return console_for(stream, width=None if is_terminal(stream) else _WIDE)


def choose(result: RunResult) -> Sequence[TaskResult]:
    """All tasks where they are few; else the most telling ones. In the order of definition."""
    tasks = list(result.tasks.values())
    if len(tasks) <= ROWS:
        return tasks
    telling = sorted(tasks, key=lambda task: (task.state not in BAD, -task.seconds))
    chosen = {task.task_id for task in telling[:ROWS]}
    return [task for task in tasks if task.task_id in chosen]


def _table(tasks: Sequence[TaskResult]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("task", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("tries", justify="right", no_wrap=True)
    table.add_column("duration", justify="right", no_wrap=True)
    cached = any(task.cached_from for task in tasks)
    if cached:
        table.add_column("from run", no_wrap=True)
    for task in tasks:
        took = duration(task.seconds) if task.started and task.ended else ""
        state = Text(task.state.value, style=STYLES[task.state])
        table.add_row(task.task_id, state, str(task.tries), took, *([task.cached_from or ""] if cached else []))
    return table


def _print_error(console: Console, task: TaskResult, logs: Path) -> None:
    kind, style = ("teardown ", "bold yellow") if task.teardown else ("", "bold red")
    text = Text(f"{kind}{task.task_id}: ", style=style)
    console.print(text.append(one_line(task.error or ""), style="not bold"))
    log = logs / task.task_id / f"{task.tries}.log"
    if log.exists():
        console.print(Text(f"  log: {near(log)}", style="dim"), soft_wrap=True)  # so that it can be copied whole


def near(path: Path) -> Path:
    """Write a path below the working directory from there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def verdict(result: RunResult) -> Text:
    """Say in one line what a run came to."""
    style = "bold green" if result.state is RunState.SUCCESS else "bold red"
    text = Text(f"run {result.run_id} {result.state.value}", style=style)
    times = f": makespan {duration(result.makespan)}"
    if result.critical_seconds:
        times += f", critical path {duration(result.critical_seconds)}: {_path(result.critical_path)}"
    torn = [task.task_id for task in result.tasks.values() if task.teardown and task.state is TaskState.FAILED]
    text.append(times, style="not bold default")
    if result.state is RunState.INTERRUPTED:
        text.append(f"; `pydag resume {result.run_id}` goes on with it", style="not bold default")
    if torn:
        text.append(f"; what {name_some(torn)} should have cleaned up may be left", style="not bold yellow")
    return text


def _path(steps: Sequence[str]) -> str:
    named = " > ".join(steps[:_STEPS])
    return named if len(steps) <= _STEPS else f"{named} > ... ({len(steps)} tasks)"
