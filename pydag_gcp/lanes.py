"""A graph in lines of text, the way ``git log --graph`` draws: one line a task, upstreams above downstreams.

Every lane leads down to one task; whoever is upstream of it joins its lane. So the drawing is as wide as there are
tasks waiting for the rest of their upstreams, not as there are edges. A lane that is only crossed keeps its stroke.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydag_gcp.edges import downstream_of

#: What stands for the arms of a cell; by the letters of up, down, left, right.
_UNICODE = {
    "ud": "│", "lr": "─", "udl": "┤", "udr": "├", "udlr": "┼", "dl": "╮", "dr": "╭", "dlr": "┬", "ul": "╯", "ur": "╰",
    "ulr": "┴", "node": "○", "": " ",
}  # fmt: skip
_ASCII = {**dict.fromkeys(_UNICODE, "+"), "ud": "|", "lr": "-", "node": "o", "": " "}


def draw(upstream: Mapping[str, Sequence[str]], labels: Mapping[str, str], *, ascii_only: bool = False) -> list[str]:
    """Draw a graph.

    Args:
        upstream: Task id -> ids of its upstreams, acyclic.
        labels: What is written behind each task's mark.
        ascii_only: For where nothing else can be shown.
    """
    below = downstream_of({task_id: dict.fromkeys(above) for task_id, above in upstream.items()})
    lanes = _Lanes(_ASCII if ascii_only else _UNICODE)
    lines = []
    for task_id in _ordered(upstream, below):
        marked = lanes.node(task_id)
        lines += [*lanes.gap(), f"{marked} {labels[task_id]}".rstrip(), *lanes.edges(below[task_id])]
    return lines


def _ordered(upstream: Mapping[str, Sequence[str]], below: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every upstream before its downstreams, and close to the first of them."""
    seen: set[str] = set()
    for sink in (task_id for task_id in upstream if not below[task_id]):
        path = [(sink, iter(upstream[sink]))]
        while path:  # no recursion: a chain may be longer than Python's stack
            task_id, rest = path[-1]
            above = next((other for other in rest if other not in seen), None)
            if above is not None:
                path.append((above, iter(upstream[above])))
                continue
            path.pop()
            if task_id not in seen:
                seen.add(task_id)
                yield task_id


class _Lanes:
    """The columns of the drawing: to which task each leads, or None where it is free."""

    def __init__(self, strokes: Mapping[str, str]) -> None:
        self._strokes = strokes
        self._targets: list[str | None] = []
        self._column_of: dict[str, int] = {}
        self._at = 0
        self._apart = False
        #: The column of the task on the line above, if nothing leads on from it.
        self._ended: int | None = None

    def node(self, task_id: str) -> str:
        """The line on which a task stands; its lane ends there."""
        root = task_id not in self._column_of
        self._at = self._take(0, task_id) if root else self._column_of[task_id]
        self._apart = root and self._at == self._ended
        self._targets[self._at] = None
        del self._column_of[task_id]
        return self._strokes_at({self._at: "node"})

    def gap(self) -> list[str]:
        """The line above it, if it could else be taken for a downstream of the task that stands there."""
        return [self._strokes_at({})] if self._apart else []

    def edges(self, targets: Sequence[str]) -> list[str]:
        """The line below it, on which it joins the lanes of its downstreams; none if there is nothing to show."""
        above = {column for column, target in enumerate(self._targets) if target is not None}
        for target in targets:
            if target not in self._column_of:
                self._take(self._at, target)
        joined = {self._column_of[target] for target in targets} | {self._at}
        lines = [self._line(above | {self._at}, joined)] if targets and len(joined) > 1 else []
        self._ended = None if targets else self._at
        while self._targets and self._targets[-1] is None:
            self._targets.pop()
        return lines

    def _strokes_at(self, marks: Mapping[int, str]) -> str:
        straight = ("" if target is None else "ud" for target in self._targets)
        cells = (self._strokes[marks.get(column, arms)] for column, arms in enumerate(straight))
        return " ".join(cells).rstrip()

    def _line(self, above: set[int], joined: set[int]) -> str:
        first, last = min(joined), max(joined)
        line = ""
        for column, target in enumerate(self._targets):
            arms = ("u" if column in above else "") + ("d" if target is not None else "")
            if column in joined:
                arms += ("l" if column > first else "") + ("r" if column < last else "")
            elif not arms and first < column < last:
                arms = "lr"
            line += self._strokes[arms] + self._strokes["lr" if first <= column < last else ""]
        return line.rstrip()

    def _take(self, near: int, target: str) -> int:
        """Give a task the free column that is nearest."""
        free = [column for column, other in enumerate(self._targets) if other is None]
        column = min(free, key=lambda other: abs(other - near), default=len(self._targets))
        if column == len(self._targets):
            self._targets.append(None)
        self._targets[column] = target
        self._column_of[target] = column
        return column
