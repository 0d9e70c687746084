"""Executes a plan: holds its lease, settles what earlier runs left, and has its run driven to the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydag_gcp.events import Listener
from pydag_gcp.heartbeat import held, tell
from pydag_gcp.loop import Loop
from pydag_gcp.planner import Plan
from pydag_gcp.processors import join
from pydag_gcp.result import RunResult
from pydag_gcp.resumption import Past, check_jobs, check_unchanged
from pydag_gcp.run import Run
from pydag_gcp.settling import settle
from pydag_gcp.store import Store
from pydag_gcp.threads import Threads
from pydag_gcp.tries import LogHandler


def execute(
    plan: Plan,
    *,
    max_processors: int | None = None,
    listeners: Sequence[Listener] = (),
    log_handler: LogHandler | None = None,
    past: Past | None = None,
    cancel: bool = False,
    wait: bool = False,
) -> RunResult:
    """Execute a plan and wait for its end.

    Earlier runs of the DAG on the target whose processes are gone are cancelled first, this one excepted.

    In the main thread, Ctrl-C cancels the remote jobs and waits for their ends (a second one leaves at once); SIGTERM
    leaves them running unless the DAG says ``on_sigterm="cancel"``. :attr:`RunResult.signal` tells.

    Args:
        plan: From :func:`pydag_gcp.planner.plan`, or :func:`pydag_gcp.resumption.plan_again`.
        max_processors: Most processors the run may hold.
        listeners: Called with every event, in the calling thread.
        log_handler: Makes a handler of what a try logs, beside its file; given the task's id and the try's number.
        past: What is known of the run, if it goes on.
        cancel: Whether it goes on only to end its jobs and to clean up.
        wait: Whether to wait for another run of the DAG on the target, instead of refusing to run beside it.

    Raises:
        RunHeld: Nothing ran: another process drives a run of the DAG on the target.
        LeaseLost: Another process has taken the run over; this one has left everything as it is.
        TargetUnreachable: Nothing ran: the target does not answer.
        JobUnsettled: The target does not tell what became of a job: the run is interrupted; jobs that were submitted
            go on.
        SettingsError: Nothing ran: a dataset is missing and may not be created.
        DefinitionError: Nothing ran: a job of an interrupted run belongs to no task of the pipeline any more.
        RunFailed: The run cannot go on, as what it took from an earlier run has changed.
        StoreError: The metadata database failed; jobs that were submitted go on.
    """
    with Store(plan.settings.store_url) as store, held(plan, store, listeners, wait=wait) as lease:
        if past is not None:
            check_unchanged(store, past)
            check_jobs(plan, past)

        def end(earlier: Plan, its_past: Past) -> RunResult:
            with _threads(earlier, max_processors) as threads:
                return Run(earlier, store, lease, threads, (), None, its_past, cancel=True).drive()

        settle(plan, store, end, partial(tell, plan, listeners))
        with _threads(plan, max_processors) as threads:
            return Run(plan, store, lease, threads, listeners, log_handler, past, cancel=cancel).drive()


def _threads(plan: Plan, most: int | None) -> Threads:
    """The threads of a run, with its share of the processors."""
    loop = Loop()
    share = join(
        plan.dag.dag_id,
        run_id=plan.run_id,
        weight=plan.dag.weight,
        most=most or plan.dag.max_processors,
        size=plan.settings.processors,
        granted=loop.wake,
    )
    return Threads(share, loop)
