"""SQL templates: from a file or a string, and parameters, to the one text that BigQuery is sent.

``{{ name }}`` in a template renders safely: a :class:`~pydag_gcp.resources.Table` as a quoted identifier, everything
else as a GoogleSQL literal. ``@name`` is bound as a query parameter.

On the way, :mod:`.placeholders` decides what a placeholder is as text and :mod:`.rendering` whether it may stand there.
:mod:`.statements` finds out what the SQL reads and writes, with :mod:`.effects` and :mod:`.references`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydag_gcp.analysis import Analysis, StatementInfo, analyse
from pydag_gcp.errors import DefinitionError, did_you_mean
from pydag_gcp.rendering import Origin, Query, qualified, query, shown
from pydag_gcp.resources import GCSObject, Table, is_template
from pydag_gcp.templates import render_value

if TYPE_CHECKING:
    from pydag_gcp.gcp import Clients

__all__ = [
    "Analysis",
    "Query",
    "StatementInfo",
    "Template",
    "analyse",
    "load_template",
    "render_sql",
    "render_value",
]


@dataclass(frozen=True, kw_only=True)
class Template:
    """SQL with placeholders.

    Attributes:
        text: The template's text.
        file: Where it was read, for messages: a path, or a ``gs://`` address; None for SQL written in the pipeline.
    """

    text: str
    file: Path | str | None = None


def load_template(
    sql: str, *, folder: Path, project_folder: Path, clients: Clients | None = None, where: str | None = None
) -> Template:
    """Take SQL as it is, or read the file it names: what ends in ``.sql`` and has no white space is a file.

    Files are looked up next to the pipeline file, in ``<project>/sql/``, and at ``gs://``, which alone asks the cloud.

    Raises:
        DefinitionError: There is no such file (names the places looked in), or it is not UTF-8.
    """
    if not sql.endswith(".sql") or re.search(r"\s", sql):
        return Template(text=sql)
    if sql.startswith("gs://"):
        return Template(text=_decoded(_download(sql, clients, where), sql, where), file=sql)
    folders = [folder, project_folder / "sql"]
    for file in dict.fromkeys(place / sql for place in folders):
        if _is_file(file):
            return Template(text=_decoded(file.read_bytes(), shown(file), where), file=file)
    there = {file.name for place in folders for file in place.glob("*.sql")}
    places = " and ".join(shown(place / sql) for place in folders)
    raise DefinitionError(f"no SQL file {sql!r}", where=where, hint=did_you_mean(sql, there) or f"looked for {places}")


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # for instance, its name is too long
        return False


def _download(uri: str, clients: Clients | None, where: str | None) -> bytes:
    from google.api_core.exceptions import NotFound

    from pydag_gcp.gcp import ONCE

    if clients is None:
        raise DefinitionError(f"{uri} cannot be read without a target", where=where)
    source = GCSObject(uri)
    try:
        blob = clients.storage().bucket(source.bucket).blob(source.name)
        data: bytes = blob.download_as_bytes(**ONCE)
    except NotFound:
        raise DefinitionError(f"no SQL file {uri!r}", where=where, hint="upload it, or correct its name") from None
    return data


def _decoded(data: bytes, file: str, where: str | None) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        place = f"{where}: {file}:{line}" if where else f"{file}:{line}"
        raise DefinitionError("is not UTF-8", where=place, hint="save the file as UTF-8") from None


def render_sql(
    template: Template,
    params: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    project: str,
    dataset: str | None,
    where: str,
) -> Query:
    """Fill in a template.

    ``{{ name }}`` may be a parameter or a variable of the run; ``{{ params.name }}`` a parameter of the task, else of
    the run. A parameter hides a variable of its name.

    Raises:
        DefinitionError: Names the template's file and line and says how to mend it.
    """
    from pydag_gcp.jinja import TemplateFault
    from pydag_gcp.placeholders import prepare

    text = template.text.replace("\r\n", "\n").replace("\r", "\n")
    origin = Origin(text=text, file=template.file, where=where)
    own = {name: _qualified(value, project, dataset, f"{where}: parameter {name!r}") for name, value in params.items()}
    names = {**variables, **own, "params": {**variables.get("params", {}), **own}}
    try:
        prepared = prepare(text)
        return query(prepared, names, own=own, origin=origin)
    except TemplateFault as fault:
        place = origin.of_template(fault.offset) if fault.offset is not None else origin.of_line(fault.line)
        raise DefinitionError(fault.what, where=place, hint=fault.hint) from fault


def _qualified(value: Any, project: str, dataset: str | None, where: str) -> Any:
    if isinstance(value, Table):
        if is_template(value.table):
            raise DefinitionError(f"{value.table!r} was not rendered", where=where)
        try:
            return qualified(value, project, dataset)
        except DefinitionError as error:
            raise DefinitionError(error.what, where=where, hint=error.hint) from error
    if isinstance(value, (list, tuple)):
        return [_qualified(part, project, dataset, where) for part in value]
    if isinstance(value, Mapping):
        return {key: _qualified(part, project, dataset, where) for key, part in value.items()}
    return value
