"""What a pipeline has in buckets is read before a run starts: what it does is then known, and fixed."""

from __future__ import annotations

from pydag_gcp.errors import DefinitionError, TargetUnreachable
from pydag_gcp.operator import Operator
from pydag_gcp.planner import Plan, recheck
from pydag_gcp.retry import asking_again, is_transient


def fetch(plan: Plan) -> tuple[str, ...]:
    """Have every task read what lies in the cloud and decides what it does; return the plan's warnings.

    Raises:
        DefinitionError: It is not there or is wrong, or two tasks race.
        TargetUnreachable: A service does not answer.
        LocalCloudError: The local cloud has died and does not start again.
    """
    may_have = [task_id for task_id, task in plan.tasks.items() if type(task).fetch is not Operator.fetch]
    fetched = [task_id for task_id in may_have if _fetch(plan, task_id)]
    return recheck(plan) if fetched else plan.warnings


def _fetch(plan: Plan, task_id: str) -> bool:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    where = f"task {task_id!r}"
    try:
        return asking_again(plan.clients.revive)(plan.tasks[task_id].fetch, plan.context_of(task_id))
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        if is_transient(error):
            raise TargetUnreachable(f"its file does not come: {error}", where=where) from error
        raise DefinitionError(f"its file cannot be read: {error}".splitlines()[0], where=where) from error
