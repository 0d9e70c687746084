"""The datasets that a run writes to exist before it starts."""

from __future__ import annotations

from collections.abc import Iterable

from pydag_gcp.errors import SettingsError, TargetUnreachable
from pydag_gcp.gcp import CALL_TIMEOUT, Clients
from pydag_gcp.resources import Table
from pydag_gcp.retry import is_transient


def ensure(clients: Clients, tables: Iterable[Table]) -> list[str]:
    """Create the missing datasets of ``tables`` where the target's settings allow it; return those created.

    Raises:
        SettingsError: One is missing and may not be created, or its creation was refused.
        TargetUnreachable: BigQuery does not answer.
    """
    from google.api_core.exceptions import GoogleAPICallError

    project = clients.target.project
    wanted = {f"{table.project or project}.{table.dataset}" for table in tables if table.dataset}
    created = []
    for dataset in sorted(wanted):
        try:
            if _ensure(clients, dataset):
                created.append(dataset)
        except (GoogleAPICallError, OSError) as error:
            if is_transient(error):
                raise TargetUnreachable(f"BigQuery does not answer: {error}", where=f"dataset {dataset!r}") from error
            raise SettingsError(f"cannot be created: {error}", where=f"dataset {dataset!r}") from error
    return created


def _ensure(clients: Clients, dataset: str) -> bool:
    from google.api_core.exceptions import Forbidden, NotFound
    from google.cloud.bigquery import Dataset

    target = clients.target
    try:
        clients.bigquery().get_dataset(dataset, timeout=CALL_TIMEOUT)
    except Forbidden:
        return False  # one may write to a dataset that one may not look at; the task will tell
    except NotFound:
        if not target.create_datasets:
            hint = f"create it, or set create_datasets = true under [targets.{target.name}] in pydag.toml"
            raise SettingsError(
                f"does not exist on target {target.name!r}", where=f"dataset {dataset!r}", hint=hint
            ) from None
        wanted = Dataset(dataset)
        wanted.location = target.location
        clients.bigquery().create_dataset(wanted, exists_ok=True, timeout=CALL_TIMEOUT)
        return True
    return False
