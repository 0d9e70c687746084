"""The versions of tables and views: that of a view follows from its definition and the versions of what it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydag_gcp.resources import MISSING, UNKNOWN, Resource, Table, Version

if TYPE_CHECKING:
    from google.cloud.bigquery import Client


@dataclass(frozen=True, kw_only=True)
class View:
    """A view that is there.

    Attributes:
        definition: Its SQL.
        reads: What it reads: tables in full, and other views.
    """

    definition: str
    reads: frozenset[Resource]


#: What the cloud says of a resource: its version, or that it is a view.
Seen = Version | View


def look(table: Table, client: Client) -> Seen:
    """Ask for creation time, last-modified time and row count; of all tables of a dataset, when that was created.

    UNKNOWN for other wildcards, external tables, materialized views, and while rows are streamed in.
    https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#Table

    Raises:
        google.api_core.exceptions.GoogleAPICallError: The service refused to say.
    """
    from google.api_core.exceptions import NotFound

    from pydag_gcp.gcp import ONCE

    try:
        if table.name == "*":
            return f"dataset/{_seconds(client.get_dataset(table.table.removesuffix('.*'), **ONCE).created)}"
        if "*" in table.name:
            return UNKNOWN
        found = client.get_table(table.table, **ONCE)
    except NotFound:
        return MISSING
    if found.table_type == "VIEW" and not found.view_use_legacy_sql:
        return view_of(found.view_query or "", project=found.project)
    if found.table_type not in {"TABLE", "SNAPSHOT"} or found.streaming_buffer is not None:
        return UNKNOWN
    return f"{_seconds(found.created)}/{_seconds(found.modified)}/{found.num_rows}"


def _seconds(moment: datetime | None) -> str:
    return f"{moment.timestamp() if moment else 0.0:.3f}"


def view_of(sql: str, *, project: str) -> Seen:
    """Find out what a view reads; UNKNOWN where that cannot be seen, or its result depends on more than that.

    Args:
        sql: Its definition, in GoogleSQL.
        project: The view's own, which tables that name none are in.
    """
    from pydag_gcp.analysis import analyse
    from pydag_gcp.errors import DefinitionError
    from pydag_gcp.rendering import Query

    try:
        found = analyse(Query(sql=sql), project=project, dataset=None)
    except DefinitionError:  # BigQuery understands it, sqlglot does not
        return UNKNOWN
    if found.reads is None or not found.deterministic or [info.kind for info in found.statements] != ["SELECT"]:
        return UNKNOWN
    return View(definition=sql, reads=found.reads)


def settled(
    resources: Collection[Resource], ask: Callable[[Collection[Resource]], Mapping[Resource, Seen]]
) -> dict[Resource, Version]:
    """Find the versions of resources, and of what is behind those that are views, in as few rounds as views are deep.

    Args:
        resources: What is wanted.
        ask: Asks the cloud about some, each of which it is asked about once.
    """
    seen: dict[Resource, Seen] = {}
    wave = set(resources)
    while wave:
        seen.update(ask(wave))
        behind = {read for resource in wave if isinstance(view := seen[resource], View) for read in view.reads}
        wave = behind - seen.keys()
    known: dict[Resource, Version] = {}
    return {resource: _settle(resource, seen, known, frozenset()) for resource in resources}


def _settle(
    resource: Resource, seen: Mapping[Resource, Seen], known: dict[Resource, Version], path: frozenset[Resource]
) -> Version:
    """Find one version; views that read each other have none."""
    if resource in path:
        return UNKNOWN
    found = seen[resource]
    if not isinstance(found, View):
        return found
    if resource not in known:
        below = {str(read): _settle(read, seen, known, path | {resource}) for read in found.reads}
        known[resource] = _combined(found.definition, below)
    return known[resource]


def _combined(definition: str, below: Mapping[str, Version]) -> Version:
    if UNKNOWN in below.values():
        return UNKNOWN
    parts = [f"{name}\0{'' if version is MISSING else version}" for name, version in sorted(below.items())]
    return "view/" + hashlib.sha256("\n".join([*parts, definition]).encode()).hexdigest()
