"""Several runs at the same time, each driven by a thread of its own."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from pydag_gcp.errors import DefinitionError, PydagError
from pydag_gcp.signals import Relay, relayed

if TYPE_CHECKING:
    from pydag_gcp.cli_execution import Execution
    from pydag_gcp.planner import Plan
    from pydag_gcp.result import RunResult

#: Seconds between two looks whether a signal has come.
_LOOK = 0.5
#: Seconds after a signal until runs are given up that nobody drives yet: they wait for others, or for their store.
_GRACE = 3.0


def refuse_twins(plans: Sequence[Plan]) -> None:
    """Refuse two runs of one DAG on one target, which cannot go on at the same time.

    Raises:
        DefinitionError: There are such.
    """
    known: dict[tuple[str, str, str], Plan] = {}
    for plan in plans:
        key = (plan.dag.dag_id, plan.clients.target.name, plan.settings.store_url)
        other = known.setdefault(key, plan)
        if other is not plan:
            files = " and ".join(dict.fromkeys(str(one.dag.file) for one in (other, plan)))
            hint = "only one run of a DAG is active on a target: run them one after another"
            raise DefinitionError(f"DAG {plan.dag.dag_id!r} is given twice: {files}", hint=hint)


def run(plans: Sequence[Plan], how: Execution) -> list[dict[str, Any]]:
    """Execute plans at the same time and show their progress; that one fails or is refused does not stop the others.

    Each of them hears Ctrl-C and SIGTERM. A run that has not begun by then does not begin any more.

    Args:
        plans: What to execute.
        how: In which way.

    Returns:
        The document that says what came of it, for each plan in the order given.
    """
    results: dict[int, RunResult] = {}
    documents: dict[int, dict[str, Any]] = {}
    with how.watching(plans) as execute, relayed() as relay:
        for number, outcome in _driven(plans, execute, relay):
            if isinstance(outcome, (PydagError, KeyboardInterrupt)):
                documents[number] = how.refused(plans[number], outcome, named=True)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                results[number] = outcome
    for number, result in sorted(results.items()):
        documents[number] = how.ended(plans[number], result, named=True)
    return [documents[number] for number in range(len(plans))]


def _driven(
    plans: Sequence[Plan], execute: Callable[[Plan], RunResult], relay: Relay
) -> Iterator[tuple[int, RunResult | BaseException]]:
    """Execute plans; tell which one has ended, and its result or its error, as soon as it has."""
    inbox: SimpleQueue[tuple[int, RunResult | BaseException]] = SimpleQueue()

    def drive(number: int) -> None:
        try:
            inbox.put((number, execute(plans[number])))
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            inbox.put((number, error))

    for number, plan in enumerate(plans):
        context = contextvars.copy_context()
        name = f"pydag-run-{plan.dag.dag_id}"
        threading.Thread(target=context.run, args=(drive, number), name=name, daemon=True).start()
    left = set(range(len(plans)))
    while left:
        given_up = relay.heard and not relay.drives
        try:
            number, outcome = inbox.get(timeout=_GRACE if given_up else _LOOK)
        except Empty:
            if given_up:
                break
            continue
        left.remove(number)
        yield number, outcome
    yield from ((number, KeyboardInterrupt()) for number in sorted(left))
