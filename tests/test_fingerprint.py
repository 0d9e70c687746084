"""Fingerprints: the same task has the same one everywhere; whatever may change what it does changes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import Cluster, Context, Retry, Secret, Table, fingerprint, task
from pydag_gcp.dag import DAG
from pydag_gcp.operator import Json, Operator
from pydag_gcp.operators import (
    BigQueryCopy,
    BigQueryQuery,
    DataprocCreateCluster,
    DataprocPySparkJob,
    GCSToBigQuery,
)
from pydag_gcp.output import Output
from tests.fingerprints import changes, known, taken

# tasks ----------------------------------------------------------------------------------------------------------------


def load_of(**fields: Any) -> GCSToBigQuery:
    return GCSToBigQuery(**{"task_id": "load", "source": "gs://bucket/x.csv", "destination": "shop.orders", **fields})


def test_what_does_not_decide_what_a_task_does_does_not_count(ctx: Context) -> None:
    plain = load_of()
    dressed = load_of(
        task_id="other_name",
        retry=Retry(attempts=5),
        timeout=timedelta(hours=1),
        priority=3,
        labels={"team": "sales"},
        cache=timedelta(days=1),
        idempotent=True,
        trigger_rule="all_done",
        config={"labels": {"a": "b"}, "jobTimeoutMs": "1000"},
    )
    assert known(plain, ctx) == known(dressed, ctx)


def test_a_default_that_is_written_out_changes_nothing(ctx: Context) -> None:
    assert changes(load_of(), load_of(format="CSV", write="WRITE_TRUNCATE", autodetect=False, cluster_by=()), ctx) == []


def test_the_order_of_fields_changes_nothing(ctx: Context) -> None:
    one = load_of(config={"load": {"encoding": "UTF-8", "quote": "'"}})
    other = GCSToBigQuery(
        config={"load": {"quote": "'", "encoding": "UTF-8"}},
        destination="shop.orders",
        source="gs://bucket/x.csv",
        task_id="l",
    )
    assert changes(one, other, ctx) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "gs://bucket/y.csv"}, ["field source changed"]),
        ({"destination": "shop.sales"}, ["field destination changed"]),
        ({"write": "WRITE_APPEND"}, ["field write added"]),
        ({"skip_leading_rows": 1, "schema": {"id": "INT64"}}, ["field schema added", "field skip_leading_rows added"]),
        ({"config": {"load": {"encoding": "UTF-8"}}}, ["field config added"]),
    ],
)
def test_a_field_that_decides_counts(ctx: Context, fields: dict[str, Any], said: list[str]) -> None:
    in_words = [
        f"field {line.split()[2]} {line.split()[1].rstrip(':')}" for line in changes(load_of(), load_of(**fields), ctx)
    ]
    assert in_words == said


def test_a_table_counts_with_its_project_where_it_names_none(ctx: Context) -> None:
    elsewhere = replace(ctx, clients=type(ctx.clients)(replace(ctx.target, project="another-project")))
    short, full = load_of(), load_of(destination="third-project.shop.orders")
    assert changes(short, short, ctx, elsewhere) == ["field changed: destination"]
    assert changes(full, full, ctx, elsewhere) == []
    assert changes(short, load_of(destination=f"{ctx.target.project}.shop.orders"), ctx) == []


def test_a_field_that_an_operator_gets_later_changes_nothing(ctx: Context) -> None:
    class Newer(GCSToBigQuery):
        __qualname__ = "GCSToBigQuery"
        preserve_ascii: bool = False

    fields: dict[str, Any] = {"task_id": "load", "source": "gs://bucket/x.csv", "destination": "shop.orders"}
    assert changes(load_of(), Newer(**fields), ctx) == []
    assert changes(load_of(), Newer(**fields, preserve_ascii=True), ctx) == ["field added: preserve_ascii"]


def test_two_operators_of_the_same_fields_are_two(ctx: Context) -> None:
    class Copy(BigQueryCopy):
        pass

    class Newer(BigQueryCopy):
        revision = 2
        __qualname__ = "BigQueryCopy"

    fields: dict[str, Any] = {"task_id": "copy", "source": "shop.a", "destination": "shop.b"}
    assert changes(BigQueryCopy(**fields), Copy(**fields), ctx) == ["operator changed"]
    assert changes(BigQueryCopy(**fields), Newer(**fields), ctx) == ["operator changed"]


# SQL ------------------------------------------------------------------------------------------------------------------


def query(sql: str = "SELECT 1", **fields: Any) -> BigQueryQuery:
    return BigQueryQuery(**{"task_id": "q", "sql": sql, "destination": "shop.out", **fields})


def test_a_change_of_sql_is_told_with_its_file(project: Path, ctx: Context) -> None:
    file = project / "sql" / "load.sql"
    file.parent.mkdir()
    file.write_text("SELECT * FROM shop.orders WHERE year > 2020\n")
    before = known(query("load.sql"), ctx)
    file.write_text("SELECT * FROM shop.orders WHERE year > 2021\n")
    assert known(query("load.sql"), ctx).changed(before.parts) == ["SQL changed: sql/load.sql"]


def test_the_line_ends_of_a_file_do_not_count(project: Path, ctx: Context) -> None:
    file = project / "load.sql"
    file.write_bytes(b"SELECT 1,\n  2\n")
    before = known(query("load.sql"), ctx)
    file.write_bytes(b"\xef\xbb\xbfSELECT 1,\r\n  2\r\n")
    assert known(query("load.sql"), ctx) == before


def test_a_parameter_is_told_by_its_name(ctx: Context) -> None:
    sql = "SELECT {{ year }}, @name FROM {{ table }}"
    params = {"year": 2020, "name": "x", "table": Table("shop.orders")}
    before = query(sql, params=params)
    assert changes(before, query(sql, params={**params, "year": 2021}), ctx) == ["parameter changed: year"]
    assert changes(before, query(sql, params={**params, "name": "y"}), ctx) == ["parameter changed: name"]
    assert changes(before, query(sql, params={**params, "table": Table("shop.b")}), ctx) == ["parameter changed: table"]
    assert changes(before, query(sql, params={**params, "year": 2020.0}), ctx) == ["parameter changed: year"]


def test_the_date_and_the_parameters_of_a_run_count_only_where_they_are_used(ctx: Context) -> None:
    later = replace(ctx, logical_date=datetime(2026, 1, 3, tzinfo=UTC), run_id="run2", params={"year": 2021})
    ctx = replace(ctx, params={"year": 2020})
    assert changes(query("SELECT 1 AS a"), query("SELECT 1 AS a"), ctx, later) == []
    dated = query("SELECT {{ ds }} AS day")
    assert changes(dated, dated, ctx, later) == ["rendered SQL changed"]
    used = query("SELECT {{ params.year }} AS year")
    assert changes(used, used, ctx, later) == ["rendered SQL changed"]
    in_a_field = query("SELECT 1", destination="shop.out_{{ ds_nodash }}")
    assert changes(in_a_field, in_a_field, ctx, later) == ["field changed: destination"]


def test_a_cap_is_no_part_of_a_query(ctx: Context) -> None:
    capped = query(maximum_bytes_billed=10, config={"query": {"maximumBytesBilled": "5"}})
    assert known(capped, ctx) == known(query(), replace(ctx, max_bytes=7))


def test_sql_in_a_bucket_that_was_not_read_yet_is_unknown(ctx: Context) -> None:
    assert taken(query("gs://scripts/x.sql"), ctx).unknown == "gs://scripts/x.sql was not read yet"


def test_the_project_counts_unless_the_sql_is_about_another(ctx: Context) -> None:
    elsewhere = replace(ctx, clients=type(ctx.clients)(replace(ctx.target, project="another-project")))
    short = query("CREATE TABLE shop.b AS SELECT * FROM third-project.shop.a", destination=None)
    full = query("CREATE TABLE third-project.shop.b AS SELECT * FROM third-project.shop.a", destination=None)
    assert changes(short, short, ctx, elsewhere) == ["project changed"]
    assert changes(full, full, ctx, elsewhere) == []


# files, services ------------------------------------------------------------------------------------------------------


def test_a_job_counts_by_what_its_files_hold(project: Path, ctx: Context) -> None:
    for name in ("job.py", "a.py", "b.py"):
        (project / name).write_text(f"print({name!r})")
    job = DataprocPySparkJob(task_id="j", cluster=Cluster("c"), main="job.py", py_files=("a.py", "b.py"))
    moved = DataprocPySparkJob(
        task_id="j", cluster=Cluster("c"), main=str(project / "job.py"), py_files=["a.py", str(project / "b.py")]
    )
    before = known(job, ctx)
    assert known(moved, ctx) == before
    (project / "b.py").write_text("print(2)")
    assert known(job, ctx).changed(before.parts) == ["file changed: b.py"]


def test_a_service_counts_by_its_specification(ctx: Context) -> None:
    plain = DataprocCreateCluster(task_id="c", cluster=Cluster("c"))
    assert changes(plain, DataprocCreateCluster(task_id="c", cluster=Cluster("c"), workers=4), ctx) == [
        "field added: workers"
    ]


# outputs, secrets -----------------------------------------------------------------------------------------------------


def _always(value: Json) -> Callable[[Output], Json]:
    return lambda _: value


def test_an_output_counts_as_what_it_refers_to_or_by_its_value(ctx: Context) -> None:
    before = query("SELECT {{ n }} AS n", params={"n": Output("up", ("rows",))})
    other = query("SELECT {{ n }} AS n", params={"n": Output("up", ("files",))})
    assert changes(before, other, ctx) == ["parameter changed: n"]
    one, same, more = (taken(before, ctx, _always(n)) for n in (1, 1, 2))
    assert one == same
    assert more.changed(one.parts) == ["parameter changed: n"]
    assert one.digest == known(query("SELECT {{ n }} AS n", params={"n": 1}), ctx).digest


def test_an_output_that_does_not_fit_leaves_no_fingerprint(ctx: Context) -> None:
    found = taken(query(maximum_bytes_billed=Output("up")), ctx, lambda _: "many")
    assert "maximum_bytes_billed" in found.unknown
    assert not found.digest


def test_a_secret_counts_by_its_name_only(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    @task
    def call(token: str) -> None: ...

    with DAG("secrets"):
        one, other = (call(token=Secret(f"env:{name}")) for name in ("TOKEN_A", "TOKEN_B"))
    monkeypatch.setenv("TOKEN_A", "hush-hush-1")
    before = taken(one, ctx, lambda _: None)
    monkeypatch.setenv("TOKEN_A", "hush-hush-2")
    assert taken(one, ctx, lambda _: None) == before == known(one, ctx)
    assert changes(one, other, ctx) == ["argument changed: token"]


def test_an_operator_whose_code_fails_has_no_fingerprint(ctx: Context) -> None:
    class Broken(Operator):
        def identity(self, ctx: Context) -> Mapping[str, Json]:
            raise KeyError("gone")

        def execute(self, ctx: Context) -> Json: ...

    assert fingerprint.of(Broken(task_id="b"), ctx).unknown == "KeyError: 'gone'"
