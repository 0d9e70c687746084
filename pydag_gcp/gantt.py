"""A Gantt chart in text: when each task of a run waited, ran and had its job running, as wide as the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from rich.text import Text

from pydag_gcp.board import duration
from pydag_gcp.past_run import PastTask, PastTry
from pydag_gcp.styles import STYLES

#: The least that is left of a bar, in characters, before what stands behind it is given up.
_NARROW = 10


class Part(Enum):
    """What a task does for a while; its marks with and without Unicode, and what the legend says."""

    WAITS = "·", ".", "waits"
    RUNS = "█", "#", "runs"
    DEFERRED = "▒", "=", "its job runs"
    RETRIES = "┄", "-", "waits before it is tried again"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of a task's time; ``style`` tells how it came out."""

    part: Part
    begins: datetime
    ends: datetime
    style: str = "dim"


def spans(task: PastTask, ends: Mapping[str, datetime], start: datetime, now: datetime) -> Iterator[Span]:
    """Yield the parts of a task's time, as far as they are known.

    Args:
        task: A task.
        ends: When tasks have ended, by their ids.
        start: When the run began.
        now: When what has not ended is looked at.
    """
    for number, one in enumerate(task.tries):
        if number == 0:
            known = (ends[above] for above in task.upstream if above in ends)
            ready = max((end for end in known if end <= one.started), default=start)
            yield Span(part=Part.WAITS, begins=ready, ends=one.started)
        else:
            yield Span(part=Part.RETRIES, begins=task.tries[number - 1].ended or one.started, ends=one.started)
        yield from _try_spans(one, now)
    if task.tries and task.tries[-1].ended and task.ended is None:
        yield Span(part=Part.RETRIES, begins=task.tries[-1].ended, ends=now)


def _try_spans(one: PastTry, now: datetime) -> Iterator[Span]:
    style, end = STYLES[one.state], one.ended or now
    yield Span(part=Part.RUNS, begins=one.started, ends=one.submitted or end, style=style)
    if one.submitted:
        yield Span(part=Part.DEFERRED, begins=one.submitted, ends=end, style=style)


def chart(tasks: Iterable[PastTask], *, start: datetime, end: datetime, width: int, ascii_only: bool) -> list[Text]:
    """Draw tasks, those that began first above; the first character of every further try is its number.

    Args:
        tasks: The tasks of a run.
        start: When the run began.
        end: When it ended, or now.
        width: Characters that a line may have.
        ascii_only: For where nothing else can be shown.
    """
    rows = sorted(tasks, key=lambda task: (task.started is None, task.started or start))
    if not rows:
        return []
    scale = _Scale.fit(rows, start=start, end=end, width=width, marks=1 if ascii_only else 0)
    ends = {task.task_id: task.ended for task in rows if task.ended}
    bars = [scale.bar_of(task, list(spans(task, ends, start, end))) for task in rows]
    lines = [scale.line(task, bar) for task, bar in zip(rows, bars, strict=True)]
    used = {mark for bar in bars for mark, _ in bar}
    legend = [f"{part.value[scale.marks]} {part.value[2]}" for part in Part if part.value[scale.marks] in used]
    lines += [scale.ruler(), Text("  ".join(legend), "dim")]
    for line in lines:
        line.truncate(width)
        line.rstrip()
    return lines


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Where a moment stands on the line."""

    start: datetime
    end: datetime
    names: int
    bar: int
    #: Whether there is room for durations behind the bars.
    tails: bool
    marks: int

    @classmethod
    def fit(cls, tasks: Sequence[PastTask], *, start: datetime, end: datetime, width: int, marks: int) -> _Scale:
        names = min(max(len(task.task_id) for task in tasks), max(width // 3, 1))
        room = width - names - 1
        tail = 2 + max(len(_took(task, end)) for task in tasks)
        tails = room - tail >= _NARROW
        return cls(
            start=start, end=end, names=names, bar=max(room - tail if tails else room, 1), tails=tails, marks=marks
        )

    def line(self, task: PastTask, bar: Sequence[tuple[str, str]]) -> Text:
        line = Text(f"{task.task_id[: self.names]:<{self.names}} ", no_wrap=True)
        if task.tries:
            line.append_tokens(bar)
        else:
            line.append(f"{task.state.value:<{self.bar}}", STYLES[task.state])
        return line.append(f"  {_took(task, self.end)}", "dim") if self.tails else line

    def ruler(self) -> Text:
        total = duration((self.end - self.start).total_seconds())
        return Text(f"{'':<{self.names}} 0{total:>{max(self.bar - 1, 0)}}", "dim")

    def bar_of(self, task: PastTask, parts: Sequence[Span]) -> list[tuple[str, str]]:
        """The characters of a task's bar, and their styles."""
        cells = [(" ", "")] * self.bar
        # What a task does counts for more than what it waits for, where both fall on one character.
        for span in sorted(parts, key=lambda span: span.part in (Part.RUNS, Part.DEFERRED)):
            if span.ends > span.begins or span.part is Part.RUNS:
                first = self._cell(span.begins)
                after = max(math.ceil(self._place(span.ends)), first + 1)
                cells[first:after] = [(span.part.value[self.marks], span.style)] * (after - first)
        for one in task.tries[1:]:
            cells[self._cell(one.started)] = (str(one.number % 10), f"{STYLES[one.state]} reverse")
        return cells

    def _place(self, moment: datetime) -> float:
        """How many characters of the bar lie before a moment."""
        seconds = max((self.end - self.start).total_seconds(), 1e-6)
        return min(max((moment - self.start).total_seconds() / seconds, 0), 1) * self.bar

    def _cell(self, moment: datetime) -> int:
        return min(int(self._place(moment)), self.bar - 1)


def _took(task: PastTask, end: datetime) -> str:
    return duration(((task.ended or end) - task.started).total_seconds()) if task.started else ""
