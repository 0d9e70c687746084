"""Contexts of tries that no run has made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydag_gcp.gcp import Clients
from pydag_gcp.operator import Context

SOME_DAY = datetime(2026, 1, 2, tzinfo=UTC)


def first_try(folder: Path, clients: Clients, moment: datetime = SOME_DAY) -> Context:
    """The context of a task's first try, in a project that lies in a folder."""
    return Context(
        dag_id="A_dag",
        run_id="run1",
        task_id="a_task",
        try_number=1,
        logical_date=moment,
        data_interval_start=moment,
        data_interval_end=moment,
        params={},
        folder=folder,
        project_folder=folder,
        clients=clients,
    )
