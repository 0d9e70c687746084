"""What a run came to, for people: a table of its tasks, the errors, the makespan beside the critical path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pydag_gcp.board import duration, name_some, one_line
from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.states import BAD, RunState, TaskState
from pydag_gcp.streams import discard, is_terminal
from pydag_gcp.styles import STYLES

#: Most tasks that the table shows.
ROWS = 100
#: Most tasks of the critical path that are named.
_STEPS = 12

#: A line in parts, each with its style.
Line = Sequence[tuple[str, str]]


def summarise(result: RunResult, logs: Path, stream: TextIO, *, name: str = "") -> None:
    """Print what a run came to.

    Args:
        result: The run.
        logs: The folder of its log files.
        stream: Where to print. A reader that goes away hears nothing more.
        name: What the run is called, where there are several.
    """
    lines = _lines(result, logs, name)
    if is_terminal(stream):
        from rich.text import Text

        from pydag_gcp.console import console_on

        console = console_on(stream)
        for line in lines:
            console.print(Text.assemble(*line), soft_wrap=any(style == "dim" for _, style in line))
        return
    try:
        for line in lines:
            print("".join(text for text, _ in line).rstrip(), file=stream)
        stream.flush()
    except BrokenPipeError:
        discard(stream)


def _lines(result: RunResult, logs: Path, name: str) -> Iterator[Line]:
    shown = choose(result)
    yield ()
    if name:
        yield ((name, "bold"),)
    yield from _table(shown)
    if len(shown) < len(result.tasks):
        yield ((f"({len(shown)} of {len(result.tasks)} tasks: those that failed or took longest)", ""),)
    for task in result.tasks.values():
        if task.error:
            yield from _error(task, logs)
    yield verdict(result)


def choose(result: RunResult) -> Sequence[TaskResult]:
    """All tasks where they are few; else the most telling ones. In the order of definition."""
    tasks = list(result.tasks.values())
    if len(tasks) <= ROWS:
        return tasks
    telling = sorted(tasks, key=lambda task: (task.state not in BAD, -task.seconds))
    chosen = {task.task_id for task in telling[:ROWS]}
    return [task for task in tasks if task.task_id in chosen]


def _table(tasks: Sequence[TaskResult]) -> Iterator[Line]:
    rows = [("task", "state", "tries", "duration", "from run"), *map(_cells, tasks)]
    if not any(task.cached_from for task in tasks):
        rows = [(*cells[:-1], "") for cells in rows]
    names, states, tries, took = (max(len(cells[column]) for cells in rows) for column in range(4))
    styles = ["bold", *(STYLES[task.state] for task in tasks)]
    for cells, style in zip(rows, styles, strict=True):
        plain = "bold" if cells is rows[0] else ""
        rest = f"{cells[2]:>{tries}}  {cells[3]:>{took}}  {cells[4]}"
        yield (f"{cells[0]:<{names}}  ", plain), (f"{cells[1]:<{states}}  ", style), (rest.rstrip(), plain)


def _cells(task: TaskResult) -> tuple[str, str, str, str, str]:
    took = duration(task.seconds) if task.started and task.ended else ""
    return task.task_id, task.state.value, str(task.tries), took, task.cached_from or ""


def _error(task: TaskResult, logs: Path) -> Iterator[Line]:
    kind, style = ("teardown ", "bold yellow") if task.teardown else ("", "bold red")
    yield (f"{kind}{task.task_id}: ", style), (one_line(task.error or ""), style.removeprefix("bold "))
    log = logs / task.task_id / f"{task.tries}.log"
    if log.exists():
        yield ((f"  log: {near(log)}", "dim"),)  # never wrapped, so that it can be copied whole


def near(path: Path) -> Path:
    """Write a path below the working directory from there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def verdict(result: RunResult) -> Line:
    """Say in one line what a run came to."""
    style = "bold green" if result.state is RunState.SUCCESS else "bold red"
    times = f": makespan {duration(result.makespan)}"
    if result.critical_seconds:
        times += f", critical path {duration(result.critical_seconds)}: {_path(result.critical_path)}"
    if result.state is RunState.INTERRUPTED:
        times += f"; `pydag resume {result.run_id}` goes on with it"
    line = [(f"run {result.run_id} {result.state.value}", style), (times, "")]
    torn = [task.task_id for task in result.tasks.values() if task.teardown and task.state is TaskState.FAILED]
    if torn:
        line.append((f"; what {name_some(torn)} should have cleaned up may be left", "yellow"))
    return line


def _path(steps: Sequence[str]) -> str:
    named = " > ".join(steps[:_STEPS])
    return named if len(steps) <= _STEPS else f"{named} > ... ({len(steps)} tasks)"
