"""The heartbeat of who drives a run: its lease is held and renewed, and requests to cancel the run are heard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from pydag_gcp.events import Listener, RunWarned
from pydag_gcp.lease import Lease, acquire
from pydag_gcp.planner import Plan
from pydag_gcp.store import Store
from pydag_gcp.threads import Threads

#: Seconds between two looks for a request to cancel.
_LOOK_EVERY = 1.0


@contextmanager
def held(plan: Plan, store: Store, listeners: Sequence[Listener], *, wait: bool) -> Iterator[Lease]:
    """Hold the lease of a plan's DAG on its target; the store is written to only while that is so.

    Raises:
        RunHeld: Somebody else holds it, and nobody said to wait.
    """
    lease = acquire(
        store,
        dag_id=plan.dag.dag_id,
        target=plan.clients.target.name,
        run_id=plan.run_id,
        ttl=plan.settings.lease,
        wait=wait,
        told=partial(tell, plan, listeners),
    )
    try:
        store.guarded(lease)
        yield lease
    finally:
        lease.release()


def tell(plan: Plan, listeners: Sequence[Listener], message: str) -> None:
    """Tell listeners what happens before a run begins."""
    for listener in listeners:
        with contextlib.suppress(Exception):  # whoever watches must not be able to keep the run from beginning
            listener(RunWarned(at=datetime.now(UTC), run_id=plan.run_id, message=message))


def keep(lease: Lease, threads: Threads) -> None:
    """Renew a lease from now on; where it is lost, the loop raises that."""

    def renew() -> None:
        lease.renew()
        keep(lease, threads)

    threads.after(lease.ttl / 3, renew)


def hear(store: Store, run_id: str, threads: Threads, cancel: Callable[[], None]) -> None:
    """Call ``cancel`` once somebody has asked to cancel a run."""

    def look() -> None:
        if store.cancel_requested(run_id):
            cancel()
        else:
            hear(store, run_id, threads, cancel)

    threads.after(_LOOK_EVERY, look)
