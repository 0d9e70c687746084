"""Where a query, load or copy job puts its rows, and what its dispositions make of what is there already.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad (createDisposition,
writeDisposition, schemaUpdateOptions) and https://cloud.google.com/bigquery/docs/writing-results.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydag_gcp.local.bigquery.catalogue import AlreadyExists, Catalogue, NotFound, Table, TableName
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.partitions import Partitions, check_partitioning, same_specification
from pydag_gcp.local.bigquery.schemas import ADDITION, RELAXATION, apply_change, evolve, schema_to_api
from pydag_gcp.local.googlesql.types import Field, quoted

_CREATE = ("CREATE_IF_NEEDED", "CREATE_NEVER")
_WRITE = ("WRITE_TRUNCATE", "WRITE_APPEND", "WRITE_EMPTY")
_SPECIFIED = ("timePartitioning", "rangePartitioning", "clustering")

#: Puts rows into a DuckDB table (its name, and the columns to fill, in order) and returns how many.
Fill = Callable[[str, Sequence[Field]], int]


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A table to write, and how.

    Attributes:
        name: The table.
        partition: The partition of it, from ``table$partition``; None: all of it.
        create: A createDisposition.
        write: A writeDisposition.
        specification: timePartitioning, rangePartitioning, clustering and, of loads, description, labels.
        updates: The schemaUpdateOptions.
    """

    name: TableName
    partition: str | None = None
    create: str = "CREATE_IF_NEEDED"
    write: str = "WRITE_APPEND"
    specification: Mapping[str, Any] = field(default_factory=dict)
    updates: frozenset[str] = frozenset()

    @classmethod
    def from_api(cls, options: Mapping[str, Any], *, write: str) -> Destination:
        """Read the destination out of a job's configuration; ``write`` is the kind's default disposition.

        Raises:
            JobError: Something in it has no meaning.
        """
        reference = options["destinationTable"]
        table, _, partition = str(reference["tableId"]).partition("$")
        found = cls(
            name=TableName(project=reference["projectId"], dataset=reference["datasetId"], table=table),
            partition=partition or None,
            create=options.get("createDisposition") or "CREATE_IF_NEEDED",
            write=options.get("writeDisposition") or write,
            specification={key: options[key] for key in _SPECIFIED if options.get(key)}
            | dict(options.get("destinationTableProperties") or {}),
            updates=frozenset(options.get("schemaUpdateOptions") or ()),
        )
        found._check()
        return found

    def _check(self) -> None:
        if self.write == "WRITE_TRUNCATE_DATA":
            raise JobError("notImplemented", "The local cloud does not implement writeDisposition WRITE_TRUNCATE_DATA")
        for value, known in ((self.create, _CREATE), (self.write, _WRITE)):
            if value not in known:
                raise JobError("invalid", f"Invalid disposition {value}; it is one of {', '.join(known)}")
        unknown = self.updates - {ADDITION, RELAXATION}
        if unknown:
            raise JobError("invalid", f"Invalid schemaUpdateOptions: {', '.join(sorted(unknown))}")
        if self.updates and self.write == "WRITE_EMPTY":
            raise JobError(
                "invalid",
                "Schema update options should only be specified with WRITE_APPEND disposition, or with WRITE_TRUNCATE "
                "disposition on a table partition.",
            )

    @property
    def exclusive(self) -> frozenset[str]:
        """Lock names of what is changed."""
        return frozenset({str(self.name)})

    @property
    def shared(self) -> frozenset[str]:
        """Lock names of what must not disappear meanwhile."""
        return frozenset({str(self.name.parent)})


def existing(catalogue: Catalogue, destination: Destination) -> Table | None:
    """Return the table that is there, if the dispositions allow to write to it; None: it is to be made.

    Raises:
        NotFound: There is none and none may be made, or there is no dataset.
        AlreadyExists: It must be empty and is not.
        JobError: It is a view, or partitioned in another way.
    """
    catalogue.dataset(destination.name.parent)
    table = catalogue.find_table(destination.name)
    if table is None:
        if destination.create == "CREATE_NEVER":
            raise NotFound(f"Not found: Table {destination.name}")
        return None
    if table.kind != "TABLE":
        message = f"{table.name} is not allowed for this operation because it is currently a {table.kind}."
        raise JobError("invalid", message)
    if destination.write == "WRITE_EMPTY" and catalogue.count(table):
        raise AlreadyExists(f"Already Exists: Table {destination.name}")
    if not same_specification(table.body, destination.specification):
        raise JobError(
            "invalid",
            f"Incompatible table partitioning specification. Table {table.name} is partitioned or clustered in another "
            "way than the job asks for",
        )
    return table


def write_rows(
    catalogue: Catalogue,
    destination: Destination,
    fields: Sequence[Field],
    fill: Fill,
    *,
    expires: int | None = None,
) -> tuple[Table, int]:
    """Write rows of columns ``fields`` as the dispositions say; return the table and how many rows were written.

    Args:
        catalogue: Of the transaction to write in.
        destination: Where to and how.
        fields: The columns that arrive.
        fill: Called once, with the DuckDB table and the columns to fill.
        expires: When a table made for the rows vanishes, in milliseconds since the epoch.

    Raises:
        SchemaMismatch: The columns do not go with the table's.
        NotFound, AlreadyExists, JobError: See :func:`existing`.
        ApiError: The partitioning asked for is none.
    """
    table = existing(catalogue, destination)
    schema = schema_to_api(fields)
    if table is None:
        body = {**destination.specification, "schema": schema}
        check_partitioning(body, fields)
        table = catalogue.create_table(destination.name, body, expires=expires)
        if destination.partition is None:
            return table, fill(table.rows, fields)
    if destination.partition is not None:
        return _write_partition(catalogue, destination, table, fields, fill)
    if destination.write == "WRITE_TRUNCATE":
        body = {**table.body, **destination.specification, "schema": schema}
        check_partitioning(body, fields)
        storage = catalogue.create_storage(tuple(fields))
        written = fill(storage, fields)
        return catalogue.change_table(table, body=body, storage=storage, expires=table.expires), written
    changed = _evolve(catalogue, table, fields, destination)
    written = fill(changed.rows, fields)
    return changed, written


def _evolve(catalogue: Catalogue, table: Table, fields: Sequence[Field], destination: Destination) -> Table:
    if not table.fields:  # a table made without a schema takes the first one that comes
        storage = catalogue.create_storage(tuple(fields))
        body = {**table.body, "schema": schema_to_api(fields)}
        return catalogue.change_table(table, body=body, storage=storage, expires=table.expires)
    schema = evolve(table.fields, fields, destination.updates, table.name)
    if schema == table.fields:
        return catalogue.change_table(table)
    apply_change(catalogue.connection, table.rows, table.fields, schema)
    body = {**table.body, "schema": schema_to_api(schema)}
    return catalogue.change_table(table, body=body, expires=table.expires)


def _write_partition(
    catalogue: Catalogue, destination: Destination, table: Table, fields: Sequence[Field], fill: Fill
) -> tuple[Table, int]:
    partitions = Partitions.of(table.body, table.fields)
    if partitions is None:
        raise JobError("invalid", f"Cannot write to partition {destination.partition} of {table.name}: not partitioned")
    condition = partitions.condition(str(destination.partition))
    changed = _evolve(catalogue, table, fields, destination)
    scratch = catalogue.create_storage(tuple(fields))
    written = fill(scratch, fields)
    database = catalogue.connection
    if database.execute(f"SELECT 1 FROM {scratch} WHERE NOT ({condition}) LIMIT 1").fetchone():
        message = (
            f"Some rows belong to different partitions rather than destination partition {destination.partition} of "
            f"{table.name}"
        )
        raise JobError("invalid", message)
    if destination.write == "WRITE_TRUNCATE":
        database.execute(f"DELETE FROM {changed.rows} WHERE {condition}")
    names = ", ".join(quoted(column.name) for column in fields)
    database.execute(f"INSERT INTO {changed.rows} ({names}) SELECT {names} FROM {scratch}")
    catalogue.drop_storage(scratch)
    return changed, written
