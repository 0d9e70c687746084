"""What a table's name in a query means, for one job in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydag_gcp.local.bigquery.catalogue import Catalogue, DatasetName, NotFound, Table, TableName
from pydag_gcp.local.bigquery.partitions import Partitions
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.translate import TableRef


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where names without a project or dataset belong.

    Attributes:
        project: The job's project.
        location: The job's location; datasets elsewhere are not found.
        dataset: The default dataset.
    """

    project: str
    location: str
    dataset: DatasetName | None = None

    @classmethod
    def of(cls, project: str, location: str, default: Mapping[str, str] | None) -> Scope:
        """Read a ``defaultDataset``."""
        if not default:
            return cls(project=project, location=location)
        dataset = DatasetName(project=default.get("projectId") or project, dataset=default["datasetId"])
        return cls(project=project, location=location, dataset=dataset)

    def table(self, project: str | None, dataset: str | None, table: str) -> TableName:
        """Complete a table's name.

        Raises:
            InvalidQuery: No dataset is named, and there is no default.
        """
        if dataset is not None:
            return TableName(project=project or self.project, dataset=dataset, table=table)
        if self.dataset is None:
            raise InvalidQuery(f'Table "{table}" must be qualified with a dataset (e.g. dataset.table).')
        return TableName(project=self.dataset.project, dataset=self.dataset.dataset, table=table)


class Names:
    """The :class:`~pydag_gcp.local.googlesql.translate.Tables` of one job.

    Args:
        catalogue: Of the transaction it runs in.
        scope: Where incomplete names belong.
    """

    def __init__(self, catalogue: Catalogue, scope: Scope) -> None:
        self.catalogue = catalogue
        self.scope = scope

    def resolve(self, project: str | None, dataset: str | None, table: str) -> TableRef:
        """Return the table or view of that name.

        Raises:
            LookupError: There is none; the message is BigQuery's.
            InvalidQuery: No dataset is named, and there is no default.
            Unsupported: INFORMATION_SCHEMA, a wildcard or a decorator.
        """
        parts = [part for part in (project, dataset, table) if part]
        if any(part.upper() == "INFORMATION_SCHEMA" or "INFORMATION_SCHEMA." in part.upper() for part in parts):
            raise Unsupported("INFORMATION_SCHEMA")
        if table.endswith("*"):
            raise Unsupported(f"a wildcard table ({table})")
        if "$" in table or "@" in table:
            raise Unsupported(f"a table decorator in a query ({table})")
        return reference(self.table(self.scope.table(project, dataset, table)))

    def table(self, name: TableName) -> Table:
        """Return the table of a full name, worded for a query if there is none.

        Raises:
            NotFound: There is none in the job's location.
        """
        place = f" was not found in location {self.scope.location}"
        dataset = self.catalogue.find_dataset(name.parent)
        if dataset is None or dataset.location != self.scope.location:
            raise NotFound(f"Not found: Dataset {name.parent}{place}")
        found = self.catalogue.find_table(name)
        if found is None:
            raise NotFound(f"Not found: Table {name}{place}")
        return found


def reference(table: Table) -> TableRef:
    """Return a table the way the translation wants it."""
    partitions = Partitions.of(table.body, table.fields)
    return TableRef(
        duckdb_name=table.storage or "",
        fields=table.fields,
        project=table.name.project,
        dataset=table.name.dataset,
        table=table.name.table,
        query=table.body["view"]["query"] if table.kind == "VIEW" else None,
        partition_column=partitions.column.name if partitions else None,
        require_partition_filter=bool(table.body.get("requirePartitionFilter")),
    )
