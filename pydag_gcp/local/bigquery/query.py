"""Query jobs: a statement, or a script of several, each of which takes effect as a whole.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
from sqlglot import exp

from pydag_gcp.local.bigquery import definitions
from pydag_gcp.local.bigquery.catalogue import AlreadyExists, Catalogue, DatasetName, NotFound, TableName
from pydag_gcp.local.bigquery.destinations import Destination
from pydag_gcp.local.bigquery.exports import Exports
from pydag_gcp.local.bigquery.job import Job, JobError, JobName
from pydag_gcp.local.bigquery.jobs import Step
from pydag_gcp.local.bigquery.names import Names, Scope
from pydag_gcp.local.bigquery.schemas import SchemaMismatch, schema_to_api
from pydag_gcp.local.bigquery.sizes import Sizes, billed
from pydag_gcp.local.bigquery.statements import Effect, Session, change, select
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.googlesql import ddl
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, parse
from pydag_gcp.local.googlesql.wire import Parameter, decode_parameter
from pydag_gcp.local.http import ApiError

#: How long a query's anonymous result is kept: https://cloud.google.com/bigquery/docs/cached-results.
RESULT_LIFE = 24 * 60 * 60 * 1000
_DML = ("INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE")


class _Undo(Exception):
    """Ends a dry run without a trace."""


class Queries:
    """Runs query jobs.

    Args:
        warehouse: Where the tables are.
        sizes: What their columns weigh.
        exports: Writes what EXPORT DATA says.
    """

    def __init__(self, warehouse: Warehouse, sizes: Sizes, exports: Exports) -> None:
        self._warehouse = warehouse
        self._sizes = sizes
        self._exports = exports

    def steps(self, job: Job) -> Sequence[Step]:
        """Return a query job's steps: one for each statement.

        Raises:
            JobError: The query cannot be run.
        """
        with job_errors():
            statements = parse(job.options["query"])
            scope = _scope(job)
            _check_destination(job, statements)
            self._make_result_dataset(job)
            return [self._step(job, scope, statement, number, len(statements))
                    for number, statement in enumerate(statements)]  # fmt: skip

    def _step(self, job: Job, scope: Scope, statement: Statement, number: int, count: int) -> Step:
        destination = _destination(job)
        exclusive, shared = locks(statement, scope)
        if statement.kind == "SELECT":
            exclusive, shared = destination.exclusive, destination.shared

        def run(connection: duckdb.DuckDBPyConnection, before: Mapping[str, Any]) -> Mapping[str, Any]:
            with job_errors():
                effect = self._run(self._session(job, scope, connection), statement, destination)
            return _statistics(effect, before, count)

        return Step(run=run, exclusive=exclusive, shared=shared)

    def dry_run(self, job: Job) -> Mapping[str, Any]:
        """Return the statistics that a query would have, without doing anything.

        Raises:
            JobError: The query could not be run.
        """
        statistics: Mapping[str, Any] = {}
        with job_errors():
            statements = parse(job.options["query"])
            scope = _scope(job)
            _check_destination(job, statements)
            all_locks = [locks(statement, scope) for statement in statements]
            exclusive = frozenset[str]().union(*(names for names, _ in all_locks))
            shared = frozenset[str]().union(*(names for _, names in all_locks))
            with suppress(_Undo), self._warehouse.writing(exclusive, shared) as connection:
                session = self._session(job, scope, connection, dry=True)
                for statement in statements:
                    effect = self._run(session, statement, _destination(job))
                    statistics = _statistics(effect, statistics, len(statements), dry=True)
                raise _Undo
        return statistics

    def _session(self, job: Job, scope: Scope, connection: duckdb.DuckDBPyConnection, *, dry: bool = False) -> Session:
        limit = job.options.get("maximumBytesBilled")
        return Session(
            names=Names(Catalogue(connection, self._warehouse.clock), scope),
            parameters=_parameters(job),
            sizes=self._sizes,
            most_billed=None if limit is None else int(limit),
            dry=dry,
        )

    def _run(self, session: Session, statement: Statement, destination: Destination) -> Effect:
        if statement.kind == "SELECT":
            expires = self._warehouse.clock.now() + RESULT_LIFE if destination.name.dataset.startswith("_") else None
            return select(session, statement, destination, expires)
        if statement.kind in _DML:
            return change(session, statement)
        if statement.kind == "EXPORT_DATA":
            return self._exports.run(session, statement)
        return definitions.RUN[statement.kind](session, statement)

    def _make_result_dataset(self, job: Job) -> None:
        """Make the hidden dataset that anonymous results of this project and location go to."""
        name = anonymous_result(job.name).parent
        with self._warehouse.reading() as connection:
            if Catalogue(connection, self._warehouse.clock).find_dataset(name):
                return
        with self._warehouse.writing(exclusive={str(name)}) as connection:
            catalogue = Catalogue(connection, self._warehouse.clock)
            if not catalogue.find_dataset(name):
                catalogue.create_dataset(name, {"location": job.name.location}, hidden=True)


def anonymous_result(job: JobName) -> TableName:
    """Return the table that a query's rows go to when it names none."""
    owner = JobName(project=job.project, location=job.location, job_id="")
    return TableName(project=job.project, dataset=f"_{owner.digest[:40]}", table=f"anon{job.digest}")


def locks(statement: Statement, scope: Scope) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that a statement must hold exclusively and shared; a SELECT writes nothing itself."""
    if statement.kind in ("SELECT", "EXPORT_DATA"):
        return frozenset(), frozenset()
    if statement.kind in ("CREATE_SCHEMA", "DROP_SCHEMA"):
        schema = ddl.schema_definition(statement)
        return frozenset(
            {str(DatasetName(project=schema.project or scope.project, dataset=schema.dataset))}
        ), frozenset()
    name = _changed(statement, scope)
    names = {str(name)}
    if statement.kind == "ALTER_TABLE" and (new := ddl.alteration(statement).rename_to) is not None:
        names.add(str(TableName(project=name.project, dataset=name.dataset, table=new)))
    return frozenset(names), frozenset({str(name.parent)})


def _changed(statement: Statement, scope: Scope) -> TableName:
    """Return the table or view that a statement changes."""
    if statement.kind in _DML:
        tree = statement.tree
        node: Any = tree.expressions[0] if statement.kind == "TRUNCATE_TABLE" else tree.this
        if not node:  # DELETE without FROM
            (node,) = tree.args["tables"]
        while not isinstance(node, exp.Table):  # INSERT INTO t (columns) wraps it
            node = node.this
        return scope.table(node.catalog or None, node.db or None, node.name)
    if statement.kind.startswith("DROP_"):
        target = ddl.drop(statement).target
    elif statement.kind == "ALTER_TABLE":
        target = ddl.alteration(statement).target
    else:
        target = ddl.table_definition(statement).target
    return scope.table(target.project, target.dataset, target.table)


def single_select(sql: str) -> Statement:
    """Parse the query of a view.

    Raises:
        InvalidQuery: It is not one SELECT.
    """
    statements = parse(sql)
    if len(statements) != 1 or statements[0].kind != "SELECT":
        raise InvalidQuery("A view's query must be a single SELECT")
    return statements[0]


@contextmanager
def job_errors() -> Iterator[None]:
    """Turn what goes wrong inside into the JobError that BigQuery would report.

    Raises:
        JobError: Instead of the error that says the same in our words.
    """
    try:
        yield
    except InvalidQuery as error:
        raise JobError(error.reason, str(error), location="query") from error
    except NotFound as error:
        raise JobError("notFound", str(error)) from error
    except AlreadyExists as error:
        raise JobError("duplicate", str(error)) from error
    except SchemaMismatch as error:
        raise JobError("invalid", str(error)) from error
    except ApiError as error:
        raise JobError(error.reason, error.message, location=error.location) from error


def _scope(job: Job) -> Scope:
    return Scope.of(job.name.project, job.name.location, job.options.get("defaultDataset"))


def _destination(job: Job) -> Destination:
    reference = anonymous_result(job.name).to_api()
    if "destinationTable" not in job.options:  # a dry run
        return Destination.from_api({"destinationTable": reference}, write="WRITE_TRUNCATE")
    anonymous = job.options["destinationTable"] == reference
    return Destination.from_api(job.options, write="WRITE_TRUNCATE" if anonymous else "WRITE_EMPTY")


def _check_destination(job: Job, statements: Sequence[Statement]) -> None:
    named = job.options.get("destinationTable", anonymous_result(job.name).to_api())
    if named == anonymous_result(job.name).to_api():
        return
    if len(statements) > 1:
        raise JobError(
            "invalidQuery", "configuration.query.destinationTable cannot be set for scripts", location="query"
        )
    kind = statements[0].kind
    if kind != "SELECT":
        what = "DML" if kind in _DML else "DDL"
        raise JobError("invalidQuery", f"Cannot set destination table in jobs with {what} statements", location="query")


def _parameters(job: Job) -> Sequence[Parameter]:
    return [decode_parameter(resource) for resource in job.options.get("queryParameters") or ()]


def _statistics(effect: Effect, before: Mapping[str, Any], count: int, *, dry: bool = False) -> dict[str, Any]:
    """Return the statistics of a job whose latest statement had that effect."""
    processed = int(before.get("totalBytesProcessed", 0)) + effect.processed
    earlier = before.get("query", {}).get("totalBytesBilled", 0)
    query: dict[str, Any] = {
        "statementType": effect.kind if count == 1 else "SCRIPT",
        "totalBytesProcessed": str(processed),
        "totalBytesBilled": "0" if dry else str(int(earlier) + billed(effect.sizes.values())),
        "billingTier": 1,
        "cacheHit": False,
        **effect.details,
    }
    if dry:
        query |= {"totalBytesProcessedAccuracy": "PRECISE", "schema": schema_to_api(effect.fields)}
    statistics: dict[str, Any] = {
        "totalBytesProcessed": str(processed),
        "totalSlotMs": "0",
        "query": query,
        "_result": effect.result.to_api() if effect.result else None,
    }
    if count > 1:
        statistics |= {"numChildJobs": "0", "_kind": effect.kind}
    return statistics
