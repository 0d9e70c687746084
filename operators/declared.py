"""What an author says a task reads or writes, where that cannot be seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator

from pydag_gcp.operator import Context
from pydag_gcp.resources import GCSObject, Resource, Table, normalised


def _resource(value: Any) -> Any:
    if isinstance(value, str):
        return GCSObject(value) if value.startswith("gs://") else Table(value)
    if isinstance(value, dict):
        return GCSObject(**value) if "uri" in value else Table(**value)
    return value


#: A table or an object; a string that begins with gs:// is an object, any other a table.
Declared = Annotated[Table | GCSObject, BeforeValidator(_resource, json_schema_input_type=str | Table | GCSObject)]


def qualified(resources: Iterable[Resource], ctx: Context, dataset: str | None = None) -> frozenset[Resource]:
    """Fill the run's project into every table."""
    found = frozenset(resources)
    return normalised(found, ctx.target.project, dataset) if found else found
