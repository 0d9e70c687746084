"""Rows of a table written to objects: what extract jobs and EXPORT DATA share.

Reference: https://cloud.google.com/bigquery/docs/exporting-data and
https://cloud.google.com/bigquery/docs/reference/standard-sql/export-statements.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from pydag_gcp.local.bigquery.export_formats import ExportFormat
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.statements import Effect, Session
from pydag_gcp.local.googlesql import ddl
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, Unsupported
from pydag_gcp.local.googlesql.types import Field
from pydag_gcp.local.storage.objects import BucketNotFound, InvalidName, Objects

#: A file holds about that many logical bytes at most: https://cloud.google.com/bigquery/docs/exporting-data#export_limitations.
_FILE_BYTES = 1_000_000_000
_OPTIONS = frozenset(
    {"uri", "format", "overwrite", "header", "field_delimiter", "compression", "use_avro_logical_types"}
)
_FORMATS = {"CSV": "CSV", "JSON": "NEWLINE_DELIMITED_JSON", "PARQUET": "PARQUET", "AVRO": "AVRO"}


class Exports:
    """Writes objects out of tables.

    Args:
        objects: Where to.
        spool: Where files are made before they are objects.
    """

    def __init__(self, objects: Objects, spool: Path) -> None:
        self._objects = objects
        self._spool = spool

    def write(
        self,
        connection: duckdb.DuckDBPyConnection,
        storage: str,
        fields: Sequence[Field],
        uri: str,
        layout: ExportFormat,
        *,
        size: int,
    ) -> int:
        """Write the rows of a DuckDB table to objects; return how many objects.

        Args:
            connection: Where the table is.
            storage: The table.
            fields: Its columns.
            uri: ``gs://bucket/name``; a ``*`` in it stands for each file's number.
            layout: How the files are written.
            size: The table's logical bytes.

        Raises:
            JobError: It cannot be written.
        """
        layout.check(fields)
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        if not uri.startswith("gs://") or not name or uri.count("*") > 1:
            raise JobError("invalid", f"Invalid destination URI {uri}: expected gs://bucket/name with at most one *")
        files = -(-size // _FILE_BYTES) or 1
        if files > 1 and "*" not in name:
            message = "Table too large to be exported to a single file. Specify a uri including a * to shard export."
            raise JobError("invalid", message, location=uri)
        row = connection.execute(f"SELECT count(*) FROM {storage}").fetchone()
        each = -(-int(row[0] if row else 0) // files)
        for number in range(files):
            rows = storage if files == 1 else f"(SELECT * FROM {storage} LIMIT {each} OFFSET {number * each})"
            path = self._spool / f"export-{uuid.uuid4().hex}"
            try:
                layout.write(connection, rows, fields, path)
                self._objects.write(bucket, name.replace("*", f"{number:012d}"), _chunks(path))
            except BucketNotFound:
                raise JobError("notFound", f"Not found: URI gs://{bucket}", location=uri) from None
            except InvalidName as error:
                raise JobError("invalid", str(error), location=uri) from None
            finally:
                path.unlink(missing_ok=True)
        return files

    def run(self, session: Session, statement: Statement) -> Effect:
        """Run an EXPORT DATA statement."""
        wanted = ddl.export(statement)
        options = {key.lower(): value for key, value in wanted.options.items()}
        unknown = set(options) - _OPTIONS
        if unknown:
            raise Unsupported(f"option {min(unknown)} of EXPORT DATA")
        uri = str(options.get("uri", ""))
        if uri.count("*") != 1:
            raise InvalidQuery("Option 'uri' must be a string that includes exactly one '*'")
        layout = ExportFormat(
            name=_FORMATS.get(str(options.get("format", "")).upper(), str(options.get("format"))),
            compression=str(options.get("compression", "NONE")).upper(),
            delimiter=str(options.get("field_delimiter", ",")),
            header=bool(options.get("header", False)),
            logical=bool(options.get("use_avro_logical_types", False)),
        )
        ready = session.translate(wanted.query)
        sizes = session.reads(wanted.query, ready)
        effect = Effect(kind="EXPORT_DATA", sizes=sizes)
        if session.dry:
            return effect
        if not options.get("overwrite") and self._objects.match(uri):
            raise JobError("invalid", f"{uri} already has files; set overwrite = true to replace them", location=uri)
        scratch = session.catalogue.create_storage(ready.fields)
        session.fill(ready, scratch, ready.fields)
        self.write(session.catalogue.connection, scratch, ready.fields, uri, layout, size=0)
        session.catalogue.drop_storage(scratch)
        return effect


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
