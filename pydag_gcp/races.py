"""No two tasks that may run at the same time touch the same thing, one of them writing.

One task waits for another if a path of edges leads there and every task on it waits for all its upstreams: its trigger
rule says so, or it is a teardown. Tasks in different arms of a branch never both run.

:mod:`.access` says what a task touches, :mod:`.conflicts` which pairs must not run at the same time, :mod:`.ordering`
which of two waits for the other, and :mod:`.arms` which never both run. :mod:`.inference` asks the same, to add edges.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydag_gcp.access import Access
from pydag_gcp.arms import Arms, Picks
from pydag_gcp.conflicts import Touch, pairs, touches
from pydag_gcp.errors import DefinitionError
from pydag_gcp.ordering import Ordering, Pair
from pydag_gcp.states import TriggerRule

#: Tasks that a warning names, at most.
_MOST_NAMED = 3

#: Pairs of tasks that are held in memory, at most, while those are looked for.
_AT_ONCE = 4096


def check(
    tasks: Mapping[str, Access],
    upstream: Mapping[str, Sequence[str]],
    *,
    rules: Mapping[str, TriggerRule],
    branches: Picks,
    teardowns: Mapping[str, Sequence[str]],
    place_of: Callable[[str], str],
) -> tuple[str, ...]:
    """Refuse a DAG in which the outcome depends on which of two tasks is quicker.

    Args:
        tasks: Task id -> what it touches, in the order of definition.
        upstream: Task id -> all its upstreams: those of outputs, teardowns and inference included. No cycle.
        rules: Task id -> its trigger rule.
        branches: What each branch picks from; see :meth:`pydag_gcp.branch.Branches.picks`.
        teardowns: Teardown -> the setups it belongs to.
        place_of: Where a task is defined, for messages.

    Returns:
        Warnings: one if tasks that nothing orders do not say what they touch.

    Raises:
        DefinitionError: The first race: both tasks, what they touch, and the missing edge.
    """
    order = Ordering(tasks, upstream, rules=rules, teardowns=teardowns)
    arms = Arms(upstream, rules=rules, branches=branches, teardowns=teardowns)
    apart = arms.between(order.tasks)
    named = {task: access for task, access in tasks.items() if access.named}
    found = touches(named, order.position) if named else []
    racing = order.unordered(pairs(found, apart))
    if racing:
        first = min(racing, key=lambda pair: (pair[1], pair[0]))
        raise _race(first, found, order, rules, place_of)
    opaque = [position for position, task in enumerate(order.tasks) if tasks[task].opaque]
    return _warnings(_one_by_one(opaque, apart) if branches else itertools.pairwise(opaque), order)


def _race(
    pair: Pair,
    found: Sequence[Touch],
    order: Ordering,
    rules: Mapping[str, TriggerRule],
    place_of: Callable[[str], str],
) -> DefinitionError:
    mine, its = ([touch for touch in found if touch.task == task] for task in pair)
    one, other = min(
        ((one, other) for one in mine for other in its if one.clashes(other)),
        key=lambda clash: (str(clash[0].resource), str(clash[1].resource), clash[0].mode.value, clash[1].mode.value),
    )
    first, second = (order.tasks[task] for task in pair)
    what = f"{first!r} {_said(one)} while {second!r} {_said(other)}"
    hint = f"add the edge {first} >> {second}"
    if not order.waits[pair[1]]:
        rule = f"its trigger_rule {rules[second].value!r} does not wait for all upstreams"
        hint = f"{rule}: choose one that does, such as 'all_done', and {hint}"
    return DefinitionError(f"is in a race with task {first!r}: {what}", where=place_of(second), hint=hint)


def _said(touch: Touch) -> str:
    through = f" through the view {touch.via}" if touch.via else ""
    return f"{touch.mode.value} {touch.resource}{through}"


def _one_by_one(tasks: Sequence[int], apart: Callable[[int, int], bool]) -> Iterator[Pair]:
    """Each task, and the nearest before it that may run as well: tasks one after another need no other edges."""
    for index, task in enumerate(tasks):
        before = next((tasks[i] for i in range(index - 1, -1, -1) if not apart(tasks[i], task)), None)
        if before is not None:
            yield before, task


def _warnings(pairs: Iterator[Pair], order: Ordering) -> tuple[str, ...]:
    """One that sums up, if tasks of which not everything is known may run at the same time."""
    loose: set[int] = set()
    while some := list(itertools.islice(pairs, _AT_ONCE)):
        loose.update(itertools.chain.from_iterable(order.unordered(some)))
    if not loose:
        return ()
    names = ", ".join(repr(order.tasks[task]) for task in heapq.nsmallest(_MOST_NAMED, loose))
    more = f" and {len(loose) - _MOST_NAMED} more" if len(loose) > _MOST_NAMED else ""
    warning = (
        f"tasks {names}{more} may run at the same time, and not all they read and write is known: "
        "races between them cannot be seen; declare reads and writes (an empty list counts), or add edges"
    )
    return (warning,)
