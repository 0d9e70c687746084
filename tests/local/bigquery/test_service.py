"""Datasets, tables, rows and queries through Google's client.

Contract: https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets, .../tables, .../tabledata and
.../jobs/query.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, MethodNotImplemented, NotFound, PreconditionFailed
from google.cloud import bigquery
from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter, SchemaField, Table

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService, Finish

pytest_plugins = ("tests.local.bigquery.service",)

AB = [SchemaField("a", "INTEGER"), SchemaField("b", "STRING")]


def rows(client: bigquery.Client, sql: str, **options: Any) -> list[tuple[Any, ...]]:
    config = QueryJobConfig(**options)
    return [row.values() for row in client.query_and_wait(sql, job_config=config)]


# Datasets


def test_a_dataset_is_made_shown_listed_changed_and_deleted(bq: bigquery.Client) -> None:
    wanted = bigquery.Dataset("p.life")
    wanted.location, wanted.description, wanted.labels = "EU", "text", {"team": "x"}
    bq.create_dataset(wanted)
    made = bq.get_dataset("life")
    assert (made.location, made.description, made.labels) == ("EU", "text", {"team": "x"})
    assert "life" in [item.dataset_id for item in bq.list_datasets()]
    made.description, made.labels = "other", {"team": None, "env": "dev"}
    changed = bq.update_dataset(made, ["description", "labels"])
    assert (changed.description, changed.labels) == ("other", {"env": "dev"})
    bq.delete_dataset("life")
    with pytest.raises(NotFound, match="Not found: Dataset p:life"):
        bq.get_dataset("life")


def test_a_dataset_name_is_taken_once(bq: bigquery.Client, dataset: str) -> None:
    with pytest.raises(Conflict, match="Already Exists: Dataset p:"):
        bq.create_dataset(dataset)
    assert bq.create_dataset(dataset, exists_ok=True).dataset_id == dataset.removeprefix("p.")


def test_a_change_of_what_has_changed_meanwhile_is_refused(bq: bigquery.Client, dataset: str) -> None:
    first, second = bq.get_dataset(dataset), bq.get_dataset(dataset)
    first.description = "first"
    bq.update_dataset(first, ["description"])
    second.description = "second"
    with pytest.raises(PreconditionFailed):
        bq.update_dataset(second, ["description"])


def test_a_dataset_with_tables_is_deleted_only_with_its_contents(bq: bigquery.Client, dataset: str) -> None:
    bq.create_table(Table(f"{dataset}.t", schema=AB))
    with pytest.raises(BadRequest, match="is still in use"):
        bq.delete_dataset(dataset)
    bq.delete_dataset(dataset, delete_contents=True)
    with pytest.raises(NotFound):
        bq.get_table(f"{dataset}.t")


def test_datasets_are_filtered_by_label_and_paged(bigquery_service: BigQueryService) -> None:
    client = bigquery_service.client("paging")
    for number in range(5):
        wanted = bigquery.Dataset(f"paging.d{number}")
        wanted.labels = {"odd": str(number % 2)}
        client.create_dataset(wanted)
    assert [item.dataset_id for item in client.list_datasets(page_size=2)] == ["d0", "d1", "d2", "d3", "d4"]
    assert [item.dataset_id for item in client.list_datasets(filter="labels.odd:1")] == ["d1", "d3"]
    assert "paging" in [project.project_id for project in client.list_projects()]
    client.close()


def test_a_default_expiration_is_inherited(bq: bigquery.Client, dataset: str) -> None:
    owner = bq.get_dataset(dataset)
    owner.default_table_expiration_ms = 3_600_000
    bq.update_dataset(owner, ["default_table_expiration_ms"])
    table = bq.create_table(Table(f"{dataset}.t", schema=AB))
    assert table.expires - table.created == dt.timedelta(hours=1)


@pytest.mark.parametrize("name", ["a-b", "a b", "ä"])
def test_a_dataset_name_of_other_characters_is_refused(bq: bigquery.Client, name: str) -> None:
    with pytest.raises(BadRequest, match="Invalid dataset ID"):
        bq.create_dataset(bigquery.Dataset(bigquery.DatasetReference("p", name)))


# Tables


def test_a_table_is_kept_as_it_was_made(bq: bigquery.Client, dataset: str) -> None:
    wanted = Table(
        f"{dataset}.t",
        schema=[
            SchemaField("d", "DATE", mode="REQUIRED", description="the day"),
            SchemaField("n", "NUMERIC", precision=10, scale=2),
            SchemaField("r", "RECORD", mode="REPEATED", fields=[SchemaField("x", "STRING", max_length=3)]),
        ],
    )
    wanted.time_partitioning = bigquery.TimePartitioning(field="d", type_="MONTH")
    wanted.clustering_fields = ["n"]
    wanted.description, wanted.labels, wanted.friendly_name = "text", {"k": "v"}, "name"
    wanted.require_partition_filter = True
    bq.create_table(wanted)
    table = bq.get_table(f"{dataset}.t")
    assert table.schema == wanted.schema
    assert (table.time_partitioning.field, table.time_partitioning.type_) == ("d", "MONTH")
    assert (table.clustering_fields, table.require_partition_filter) == (["n"], True)
    assert (table.description, table.labels, table.friendly_name) == ("text", {"k": "v"}, "name")
    assert (table.num_rows, table.num_bytes, table.table_type, table.location) == (0, 0, "TABLE", "US")
    (listed,) = bq.list_tables(dataset)
    assert (listed.table_id, listed.table_type, listed.labels) == ("t", "TABLE", {"k": "v"})


def test_a_range_partitioned_table(bq: bigquery.Client, dataset: str) -> None:
    wanted = Table(f"{dataset}.t", schema=AB)
    limits = bigquery.PartitionRange(start=0, end=100, interval=10)
    wanted.range_partitioning = bigquery.RangePartitioning(range_=limits, field="a")
    bq.create_table(wanted)
    found = bq.get_table(f"{dataset}.t").range_partitioning
    assert (found.field, found.range_.start, found.range_.end, found.range_.interval) == ("a", 0, 100, 10)


def test_a_table_name_is_taken_once_and_wants_a_dataset(bq: bigquery.Client, dataset: str) -> None:
    bq.create_table(Table(f"{dataset}.t", schema=AB))
    with pytest.raises(Conflict, match="Already Exists: Table p:"):
        bq.create_table(Table(f"{dataset}.t", schema=AB))
    with pytest.raises(NotFound, match="Not found: Dataset p:missing"):
        bq.create_table(Table("p.missing.t", schema=AB))


def test_columns_are_added_and_relaxed_but_not_removed_or_retyped(bq: bigquery.Client, dataset: str) -> None:
    # https://cloud.google.com/bigquery/docs/managing-table-schemas
    bq.create_table(Table(f"{dataset}.t", schema=[SchemaField("a", "INTEGER", mode="REQUIRED")]))
    rows(bq, f"INSERT INTO `{dataset}.t` (a) VALUES (1)")
    table = bq.get_table(f"{dataset}.t")
    table.schema = [SchemaField("a", "INTEGER", description="new"), SchemaField("c", "STRING")]
    changed = bq.update_table(table, ["schema"])
    assert [(field.name, field.mode, field.description) for field in changed.schema] == [
        ("a", "NULLABLE", "new"), ("c", "NULLABLE", None),
    ]  # fmt: skip
    assert rows(bq, f"SELECT a, c FROM `{dataset}.t`") == [(1, None)]
    for schema, message in (
        ([SchemaField("c", "STRING")], "Field a is missing in new schema"),
        ([SchemaField("a", "STRING"), SchemaField("c", "STRING")], "Field a has changed type from INTEGER to STRING"),
    ):
        changed.schema = schema
        with pytest.raises(BadRequest, match=message):
            bq.update_table(changed, ["schema"])


def test_a_table_change_checks_the_etag(bq: bigquery.Client, dataset: str) -> None:
    bq.create_table(Table(f"{dataset}.t", schema=AB))
    stale = bq.get_table(f"{dataset}.t")
    rows(bq, f"INSERT INTO `{dataset}.t` (a) VALUES (1)")
    stale.description = "x"
    with pytest.raises(PreconditionFailed):
        bq.update_table(stale, ["description"])


def test_a_table_expires(bq: bigquery.Client, dataset: str) -> None:
    bq.create_table(Table(f"{dataset}.t", schema=AB))
    table = bq.get_table(f"{dataset}.t")
    table.expires = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    bq.update_table(table, ["expires"])
    with pytest.raises(NotFound):
        bq.get_table(f"{dataset}.t")


def test_row_counts_and_sizes_are_exact_at_once(bq: bigquery.Client, dataset: str) -> None:
    # https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes
    bq.create_table(Table(f"{dataset}.t", schema=AB))
    rows(bq, f"INSERT INTO `{dataset}.t` (a, b) VALUES (1, 'xyz'), (2, NULL), (NULL, 'ü')")
    table = bq.get_table(f"{dataset}.t")
    # a whole number is 8 bytes, a string 2 more than its UTF-8: 13 and 8 and 4
    assert (table.num_rows, table.num_bytes) == (3, 25)


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ({"externalDataConfiguration": {"sourceFormat": "CSV"}}, "externalDataConfiguration"),
        ({"schema": {"fields": [{"name": "g", "type": "GEOGRAPHY"}]}}, "type GEOGRAPHY"),
        (
            {"schema": {"fields": [{"name": "d", "type": "DATE"}]}, "timePartitioning": {"type": "DAY"}},
            "ingestion time",
        ),
        ({"encryptionConfiguration": {"kmsKeyName": "k"}}, "encryptionConfiguration"),
    ],
)
def test_tables_that_are_not_done_are_refused_by_name(
    bq: bigquery.Client, dataset: str, resource: dict[str, Any], name: str
) -> None:
    body = {"tableReference": {"tableId": "t"}, **resource}
    path = f"/projects/p/datasets/{dataset.removeprefix('p.')}/tables"
    with pytest.raises(MethodNotImplemented, match=name):
        bq._call_api(None, method="POST", path=path, data=body)


def test_views(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'")
    view = Table(f"{dataset}.v")
    view.view_query = f"SELECT b FROM `{dataset}.t` WHERE a > 1"
    bq.create_table(view)
    rows(bq, f"CREATE VIEW `{dataset}.w` AS\nSELECT b AS c -- as it is\nFROM `{dataset}.v`")
    assert rows(bq, f"SELECT * FROM `{dataset}.w`") == [("y",)]
    shown = bq.get_table(f"{dataset}.w")
    assert (shown.table_type, [field.name for field in shown.schema]) == ("VIEW", ["c"])
    assert shown.view_query == f"SELECT b AS c -- as it is\nFROM `{dataset}.v`"
    with pytest.raises(BadRequest, match="Cannot list a table of type VIEW"):
        list(bq.list_rows(f"{dataset}.w", selected_fields=shown.schema))


# Rows


def test_rows_come_in_pages_in_their_order(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT x, x * 2 AS y FROM UNNEST(GENERATE_ARRAY(0, 24)) AS x ORDER BY x")
    table = bq.get_table(f"{dataset}.t")
    pages = [[row.values() for row in page] for page in bq.list_rows(table, page_size=10).pages]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [row for page in pages for row in page] == [(x, 2 * x) for x in range(25)]
    middle = bq.list_rows(table, start_index=20, max_results=3, selected_fields=[SchemaField("y", "INTEGER")])
    assert [row.values() for row in middle] == [(40,), (42,), (44,)]


def test_streamed_rows_are_there_at_once_and_once(bq: bigquery.Client, dataset: str) -> None:
    table = bq.create_table(Table(f"{dataset}.t", schema=[*AB, SchemaField("l", "INTEGER", mode="REPEATED")]))
    data: list[dict[str, Any]] = [{"a": 1, "b": "x", "l": [1, 2]}, {"a": "2", "b": None}]
    for _ in range(2):  # the second time is a repetition: same insertIds
        assert bq.insert_rows_json(table, data, row_ids=["one", "two"]) == []
    assert [row.values() for row in bq.list_rows(table)] == [(1, "x", [1, 2]), (2, None, [])]
    assert bq.get_table(table).num_rows == 2


def test_bad_streamed_rows_are_reported_and_stop_the_good_ones(bq: bigquery.Client, dataset: str) -> None:
    table = bq.create_table(Table(f"{dataset}.t", schema=[SchemaField("a", "INTEGER", mode="REQUIRED"), AB[1]]))
    data: list[dict[str, Any]] = [{"a": 1}, {"a": "one"}, {"a": 3, "c": 1}, {"b": "x"}]
    errors = bq.insert_rows_json(table, data)
    assert [(error["index"], error["errors"][0]["reason"]) for error in errors] == [
        (0, "stopped"), (1, "invalid"), (2, "invalid"), (3, "invalid"),
    ]  # fmt: skip
    assert bq.get_table(table).num_rows == 0
    errors = bq.insert_rows_json(table, data, skip_invalid_rows=True, ignore_unknown_values=True)
    assert [error["index"] for error in errors] == [1, 3]
    assert [row.values() for row in bq.list_rows(table)] == [(1, None), (3, None)]


# Queries


def test_values_of_every_type_arrive_as_they_are(bq: bigquery.Client) -> None:
    sql = """SELECT 9007199254740993 AS i, 1.5 AS f, TRUE AS b, 'ü' AS s, b'\\x00\\xff' AS y, DATE '2024-02-29' AS d,
             DATETIME '2024-02-29 12:34:56.789' AS dt, TIME '12:34:56' AS t,
             TIMESTAMP '2024-02-29 12:34:56.789+01' AS ts,
             NUMERIC '1.25' AS n, [1, 2] AS l, STRUCT(1 AS x, 'y' AS z) AS r, CAST(NULL AS STRING) AS nothing"""
    moment = dt.datetime(2024, 2, 29, 12, 34, 56, 789000)  # noqa: DTZ001  a DATETIME has no zone
    assert rows(bq, sql) == [
        (
            9007199254740993, 1.5, True, "ü", b"\x00\xff", moment.date(), moment, dt.time(12, 34, 56),
            (moment - dt.timedelta(hours=1)).replace(tzinfo=dt.UTC), Decimal("1.25"), [1, 2],
            {"x": 1, "z": "y"}, None,
        )
    ]  # fmt: skip


def test_parameters_named_and_positional(bq: bigquery.Client) -> None:
    named = [ScalarQueryParameter("n", "INT64", 5), ArrayQueryParameter("l", "STRING", ["a", "b"])]
    assert rows(bq, "SELECT @n + 1 AS x, 'b' IN UNNEST(@l) AS y", query_parameters=named) == [(6, True)]
    places = [
        ScalarQueryParameter(None, "DATE", dt.date(2024, 2, 29)),
        ScalarQueryParameter(None, "STRING", None),
    ]
    assert rows(bq, "SELECT ? AS d, ? AS s", query_parameters=places) == [(dt.date(2024, 2, 29), None)]


def test_a_default_dataset_completes_names(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS a")
    assert rows(bq, "SELECT a FROM t", default_dataset=dataset) == [(1,)]
    with pytest.raises(BadRequest, match='Table "t" must be qualified with a dataset'):
        rows(bq, "SELECT a FROM t")


def test_a_select_goes_to_its_destination_as_the_dispositions_say(
    bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    # https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery: WRITE_EMPTY is the default
    def run(sql: str, **options: Any) -> list[tuple[Any, ...]]:
        finish(bq.query(sql, job_config=QueryJobConfig(destination=f"{dataset}.t", **options), job_retry=None))
        return [row.values() for row in bq.list_rows(f"{dataset}.t")]

    assert run("SELECT 1 AS a") == [(1,)]
    with pytest.raises(Conflict, match="Already Exists: Table p:"):
        run("SELECT 2 AS a")
    assert run("SELECT 2 AS a", write_disposition="WRITE_APPEND") == [(1,), (2,)]
    with pytest.raises(BadRequest, match="Cannot add fields"):
        run("SELECT 2 AS a, 3 AS b", write_disposition="WRITE_APPEND")
    assert run("SELECT 'x' AS b", write_disposition="WRITE_TRUNCATE") == [("x",)]
    with pytest.raises(NotFound):
        finish(
            bq.query(
                "SELECT 1 AS a",
                job_config=QueryJobConfig(destination=f"{dataset}.u", create_disposition="CREATE_NEVER"),
            )
        )


def test_a_table_may_be_replaced_by_what_is_read_from_it(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT x FROM UNNEST([1, 2, 3]) AS x")
    rows(bq, f"CREATE OR REPLACE TABLE `{dataset}.t` AS SELECT x FROM `{dataset}.t` WHERE x > 1")
    assert sorted(rows(bq, f"SELECT * FROM `{dataset}.t`")) == [(2,), (3,)]


def test_dml_reports_the_rows_it_changed(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT x, 0 AS y FROM UNNEST([1, 2, 3]) AS x")
    merge = f"""MERGE `{dataset}.t` AS t USING (SELECT 3 AS x UNION ALL SELECT 4) AS s ON t.x = s.x
                WHEN MATCHED THEN UPDATE SET y = 9 WHEN NOT MATCHED THEN INSERT (x, y) VALUES (x, 1)"""
    for sql, counts in (
        (f"INSERT INTO `{dataset}.t` (x, y) VALUES (5, 0), (6, 0)", (2, 0, 0)),
        (f"UPDATE `{dataset}.t` SET y = 1 WHERE x < 3", (0, 2, 0)),
        (f"DELETE FROM `{dataset}.t` WHERE x > 5", (0, 0, 1)),
        (f"DELETE `{dataset}.t` WHERE x > 4", (0, 0, 1)),
        (merge, (1, 1, 0)),
        (f"TRUNCATE TABLE `{dataset}.t`", (0, 0, 4)),
    ):
        job = bq.query(sql)
        job.result()
        stats = job.dml_stats
        assert stats is not None
        assert (stats.inserted_row_count, stats.updated_row_count, stats.deleted_row_count) == counts
        assert job.statement_type == sql.split()[0].replace("TRUNCATE", "TRUNCATE_TABLE")
    assert bq.get_table(f"{dataset}.t").num_rows == 0


def test_ddl_reports_what_it_made(bq: bigquery.Client, dataset: str) -> None:
    for sql, operation in (
        (f"CREATE TABLE `{dataset}.t` (a INT64)", "CREATE"),
        (f"CREATE TABLE IF NOT EXISTS `{dataset}.t` (a INT64)", "SKIP"),
        (f"CREATE OR REPLACE TABLE `{dataset}.t` (a INT64)", "REPLACE"),
        (f"ALTER TABLE `{dataset}.t` ADD COLUMN b STRING", "ALTER"),
        (f"DROP TABLE `{dataset}.t`", "DROP"),
        (f"DROP TABLE IF EXISTS `{dataset}.t`", "SKIP"),
    ):
        job = bq.query(sql)
        assert list(job.result()) == []
        assert (job.ddl_operation_performed, str(job.ddl_target_table)) == (operation, f"{dataset}.t")


def test_a_definition_with_everything(bq: bigquery.Client, dataset: str) -> None:
    sql = f"""CREATE TABLE `{dataset}.t` (id INT64 NOT NULL, category STRING, lastdate DATE)
              PARTITION BY lastdate CLUSTER BY category
              OPTIONS (description = 'text', labels = [('k', 'v')], require_partition_filter = TRUE)"""
    rows(bq, sql)
    table = bq.get_table(f"{dataset}.t")
    assert (table.time_partitioning.field, table.clustering_fields) == ("lastdate", ["category"])
    assert (table.description, table.labels, table.require_partition_filter) == ("text", {"k": "v"}, True)
    assert [(field.name, field.mode) for field in table.schema] == [
        ("id", "REQUIRED"), ("category", "NULLABLE"), ("lastdate", "NULLABLE"),
    ]  # fmt: skip


def test_a_dry_run_says_what_a_query_would_read_and_does_nothing(bq: bigquery.Client, dataset: str) -> None:
    # https://cloud.google.com/bigquery/docs/running-queries#dry-run
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT x, CAST(x AS STRING) AS y FROM UNNEST(GENERATE_ARRAY(1, 9)) AS x")
    config = QueryJobConfig(dry_run=True)
    job = bq.query(f"SELECT x FROM `{dataset}.t`", job_config=config)
    # nine INT64 of 8 bytes; with the strings nine times 2 + 1 more
    assert (job.state, job.total_bytes_processed, [field.name for field in job.schema or ()]) == ("DONE", 72, ["x"])
    assert bq.query(f"SELECT * FROM `{dataset}.t`", job_config=config).total_bytes_processed == 99
    bq.query(f"DROP TABLE `{dataset}.t`", job_config=config)
    bq.query(
        f"CREATE TABLE `{dataset}.u` AS SELECT 1 AS x; INSERT INTO `{dataset}.u` (x) VALUES (2)", job_config=config
    )
    assert [item.table_id for item in bq.list_tables(dataset)] == ["t"]
    with pytest.raises(NotFound, match="was not found in location US"):
        bq.query(f"SELECT * FROM `{dataset}.missing`", job_config=config)


def test_a_query_that_would_cost_too_much_is_refused(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS x")
    # bytes are rounded up to 10 MB a table: https://cloud.google.com/bigquery/pricing#on_demand_pricing
    assert rows(bq, f"SELECT * FROM `{dataset}.t`", maximum_bytes_billed=10 << 20) == [(1,)]
    with pytest.raises(
        BadRequest, match=r"Query exceeded limit for bytes billed: 1000\. 10485760 or higher required\."
    ):
        rows(bq, f"SELECT * FROM `{dataset}.t`", maximum_bytes_billed=1000)


def test_a_query_is_only_for_its_location(bq: bigquery.Client, dataset: str) -> None:
    with pytest.raises(NotFound, match="was not found in location EU"):
        bq.query(f"SELECT * FROM `{dataset}.t`", location="EU", job_retry=None).result()


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELEC 1", BadRequest, "Syntax error"),
        ("SELECT x", BadRequest, "Unrecognized name: x"),
        ("SELECT 1/0 AS x", BadRequest, "division by zero"),
        ("SELECT * FROM p.d.INFORMATION_SCHEMA.TABLES", MethodNotImplemented, "INFORMATION_SCHEMA"),
        ("DECLARE x INT64", MethodNotImplemented, "DECLARE"),
    ],
)
def test_a_query_that_cannot_run_says_why(bq: bigquery.Client, sql: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rows(bq, sql)


def test_a_large_result_comes_in_pages(bq: bigquery.Client, finish: Finish) -> None:
    job = bq.query("SELECT x FROM UNNEST(GENERATE_ARRAY(1, 2500)) AS x ORDER BY x")
    result = job.result(page_size=1000)
    assert (result.total_rows, [row.x for row in result]) == (2500, list(range(1, 2501)))


def test_a_copy_takes_the_schema_and_the_rows(bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    # https://cloud.google.com/bigquery/docs/managing-tables#copy-table
    rows(bq, f"CREATE TABLE `{dataset}.t` PARTITION BY d AS SELECT DATE '2024-01-01' AS d, 1 AS x")
    finish(bq.copy_table(f"{dataset}.t", f"{dataset}.u"))
    copy = bq.get_table(f"{dataset}.u")
    assert (copy.num_rows, copy.schema, copy.time_partitioning.field) == (1, bq.get_table(f"{dataset}.t").schema, "d")
    with pytest.raises(Conflict):
        finish(bq.copy_table(f"{dataset}.t", f"{dataset}.u"))
    append = bigquery.CopyJobConfig(write_disposition="WRITE_APPEND")
    finish(bq.copy_table([f"{dataset}.t", f"{dataset}.u"], f"{dataset}.u", job_config=append))
    assert bq.get_table(f"{dataset}.u").num_rows == 3


def test_what_has_no_route_is_refused_by_name(bq: bigquery.Client, dataset: str) -> None:
    with pytest.raises(MethodNotImplemented, match="models"):
        list(bq.list_models(dataset))
