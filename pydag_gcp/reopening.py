"""A run of the past is planned again, to go on where it stopped: its pipeline is loaded from where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydag_gcp import loader, project_store, settings
from pydag_gcp.errors import DefinitionError, SettingsError
from pydag_gcp.planner import Plan
from pydag_gcp.resumption import Past, load_past, plan_again


@dataclass(frozen=True, kw_only=True)
class Reopened:
    """A run that can go on: its plan, and what is known of it."""

    plan: Plan
    past: Past


def reopen(found: settings.Settings, run_id: str, *, file: Path | None = None) -> Reopened:
    """Plan a run again.

    Args:
        found: Say which metadata database knows it.
        run_id: Its whole id.
        file: Where its pipeline lies now; default: where it lay.

    Raises:
        DefinitionError: Its pipeline is gone, wrong, or another one.
        SettingsError: There is no such run; or the settings contradict themselves.
    """
    with project_store.opened(found) as store:
        row = store.run(run_id)
        if row is None:
            raise SettingsError(f"no run {run_id!r}", hint="`pydag runs` lists them")
        past = load_past(store, run_id)
    path = file or Path(row["file"] or "")
    if not path.is_file():
        hint = f"put it back, or end the run on record only: pydag cancel --forget {run_id}"
        raise DefinitionError(f"the pipeline of run {run_id} is not here any more", where=str(path), hint=hint)
    dag = loader.load(path)
    if dag.dag_id != row["dag_id"]:
        what = f"defines the DAG {dag.dag_id!r}, but run {run_id} is one of {row['dag_id']!r}"
        raise DefinitionError(what, where=str(path))
    return Reopened(plan=plan_again(dag, settings.load(dag.file), row), past=past)
