"""The arms of branches: tasks of which a run never sees more than one side."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from pydag_gcp.edges import downstream_of
from pydag_gcp.states import TriggerRule

#: Skipped if one upstream is, or only if all are; under any other rule a task runs nevertheless.
_IF_ANY = frozenset({TriggerRule.ALL_SUCCESS})
_IF_ALL = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS})


#: Branch -> each task that it may pick -> those that it skips if it picks this one alone.
Picks = Mapping[str, Mapping[str, Collection[str]]]


class Arms:
    """Which tasks are skipped with which task (head) that a branch may pick.

    Args:
        upstream: Task id -> its upstreams.
        rules: Task id -> its trigger rule.
        branches: What each branch picks from.
        teardowns: Teardown -> its setups; it is skipped if all of these are.
    """

    def __init__(
        self,
        upstream: Mapping[str, Sequence[str]],
        *,
        rules: Mapping[str, TriggerRule],
        branches: Picks,
        teardowns: Mapping[str, Sequence[str]],
    ) -> None:
        self._upstream, self._rules, self._teardowns = upstream, rules, teardowns
        #: Branch -> what those of its picks skip that leave other heads, because these follow from the one picked.
        self._mild = {
            branch: [skipped for skipped in heads.values() if len(skipped) < len(heads) - 1]
            for branch, heads in branches.items()
        }
        self._downstream = downstream_of(upstream) if branches else {}
        #: Task -> branch -> the heads that it is skipped with.
        self._heads: dict[str, dict[str, set[str]]] = {}
        for branch, heads in branches.items():
            for head in heads:
                if self._awaits(head, branch):
                    for task in self._skipped_with(head):
                        self._heads.setdefault(task, {}).setdefault(branch, set()).add(head)

    def apart(self, one: str, other: str) -> bool:
        """Tell whether the two are in different arms of a branch."""
        mine, its = self._heads.get(one), self._heads.get(other)
        if not mine or not its:
            return False
        return any(
            head != another and all(head in skipped or another in skipped for skipped in self._mild[branch])
            for branch in mine.keys() & its.keys()
            for head in mine[branch]
            for another in its[branch]
        )

    def between(self, tasks: Sequence[str]) -> Callable[[int, int], bool]:
        """The same as :meth:`apart`, of tasks by their number."""
        return lambda one, other: self.apart(tasks[one], tasks[other])

    def _awaits(self, head: str, branch: str) -> bool:
        """Tell whether a head starts only if the branch has succeeded, and so has picked."""
        rule = self._rules.get(head)
        return rule in _IF_ANY or (rule in _IF_ALL and [*self._upstream[head]] == [branch])

    def _skipped_with(self, head: str) -> Iterator[str]:
        yield head
        skipped, stack = {head}, [head]
        counts: dict[str, int] = {}
        while stack:
            above = stack.pop()
            for task in self._downstream[above]:
                if task in skipped or (task in self._teardowns and above not in self._teardowns[task]):
                    continue
                counts[task] = counts.get(task, 0) + 1
                if counts[task] >= self._needed(task):
                    skipped.add(task)
                    stack.append(task)
                    yield task

    def _needed(self, task: str) -> float:
        """How many upstreams (of a teardown: setups) must be skipped for the task to be skipped."""
        if task in self._teardowns:
            return len(self._teardowns[task])
        if self._rules[task] in _IF_ALL:
            return len(self._upstream[task])
        return 1 if self._rules[task] in _IF_ANY else math.inf
