"""The datasets that a run writes to exist before it starts."""

from __future__ import annotations

from collections.abc import Iterable

from pydag_gcp.errors import SettingsError, TargetUnreachable
from pydag_gcp.gcp import ONCE, Clients
from pydag_gcp.resources import Table
from pydag_gcp.retry import asking_again, is_transient


def ensure(clients: Clients, tables: Iterable[Table]) -> list[str]:
    """Create the missing datasets of ``tables`` where the target's settings allow it; return those created.

    A dataset that the tables contain as a whole (``dataset.*``) is one that a task makes, so it is left to that task.

    Raises:
        SettingsError: One is missing and may not be created, or its creation was refused.
        TargetUnreachable: BigQuery does not answer.
        LocalCloudError: The local cloud has died and does not start again.
    """
    project = clients.target.project
    names = {(f"{table.project or project}.{table.dataset}", table.name) for table in tables if table.dataset}
    made_by_tasks = {dataset for dataset, name in names if name == "*"}
    wanted = sorted({dataset for dataset, _ in names} - made_by_tasks)
    return [dataset for dataset in wanted if _ensure(clients, dataset)]


def _ensure(clients: Clients, dataset: str) -> bool:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    where = f"dataset {dataset!r}"
    try:
        return asking_again(clients.revive)(_create_if_missing, clients, dataset)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        if is_transient(error):
            raise TargetUnreachable(f"BigQuery does not answer: {error}", where=where) from error
        raise SettingsError(f"cannot be looked up or created: {error}", where=where) from error


def _create_if_missing(clients: Clients, dataset: str) -> bool:
    from google.api_core.exceptions import Forbidden, NotFound
    from google.cloud.bigquery import Dataset

    target = clients.target
    try:
        clients.bigquery().get_dataset(dataset, **ONCE)
    except Forbidden:
        return False  # one may write to a dataset that one may not look at; the task will tell
    except NotFound:
        if not target.create_datasets:
            hint = f"create it, or set create_datasets = true under [targets.{target.name}] in pydag.toml"
            what = f"does not exist on target {target.name!r}"
            raise SettingsError(what, where=f"dataset {dataset!r}", hint=hint) from None
        wanted = Dataset(dataset)
        wanted.location = target.location
        clients.bigquery().create_dataset(wanted, exists_ok=True, **ONCE)
        return True
    return False
