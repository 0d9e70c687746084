"""Query jobs: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp import sql
from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.gcp import Clients, Target
from pydag_gcp.operator import Context, Done, Failed
from pydag_gcp.operators import BigQueryQuery
from pydag_gcp.output import Output
from pydag_gcp.resources import GCSObject, Table
from pydag_gcp.retry import is_transient

if TYPE_CHECKING:
    from tests.operators.conftest import HttpService


def query(text: str = "SELECT 1 AS n", **fields: Any) -> BigQueryQuery:
    return BigQueryQuery(**{"task_id": "t", "sql": text, **fields})


def sent(task: BigQueryQuery, ctx: Context) -> dict[str, Any]:
    part: dict[str, Any] = task.configuration(ctx)["query"]
    return part


def test_a_query_is_sent_as_it_is_written(ctx: Context) -> None:
    assert sent(query(), ctx) == {"query": "SELECT 1 AS n", "useLegacySql": False}


def test_a_file_is_looked_up_next_to_the_pipeline(ctx: Context) -> None:
    (ctx.folder / "q.sql").write_text("SELECT * FROM {{ table }} WHERE day = @day")
    task = query("q.sql", params={"table": Table("d.t"), "day": date(2022, 1, 31)})

    configuration = sent(task, ctx)

    assert configuration["query"] == "SELECT * FROM `acme-1`.`d`.`t` WHERE day = @day"
    assert configuration["parameterMode"] == "NAMED"
    assert [p["name"] for p in configuration["queryParameters"]] == ["day"]


def test_inline_sql_is_not_mistaken_for_a_template_of_a_field(ctx: Context) -> None:
    task = query("SELECT * FROM {{ table }} WHERE day = {{ ds }}", params={"table": {"table": "d.t_{{ ds_nodash }}"}})

    assert sent(task.rendered(ctx), ctx)["query"] == (
        "SELECT * FROM `acme-1`.`d`.`t_20220131` WHERE day = '2022-01-31'"
    )


def test_a_default_dataset_may_be_a_template(ctx: Context) -> None:
    task = query("SELECT * FROM t", dataset="d_{{ ds_nodash }}").rendered(ctx)

    assert sent(task, ctx)["defaultDataset"] == {"projectId": "acme-1", "datasetId": "d_20220131"}
    assert task.reads(ctx) == frozenset({Table("acme-1.d_20220131.t")})


def test_a_file_name_may_be_a_template(ctx: Context) -> None:
    (ctx.folder / "q_t.sql").write_text("SELECT 1")

    assert sent(query("q_{{task_id}}.sql").rendered(ctx), ctx)["query"] == "SELECT 1"


def test_what_the_service_gets_is_what_we_configured(ctx: Context, http: HttpService) -> None:
    task = query("SELECT @n AS n", params={"n": 1}, maximum_bytes_billed=1000, dataset="d")

    task.submit(ctx, "pydag-1")

    assert len(http.requests) == 1
    assert http.requests[0].json["configuration"]["query"] == sent(task, ctx)
    assert sent(task, ctx)["maximumBytesBilled"] == "1000"
    assert sent(task, ctx)["defaultDataset"] == {"projectId": "acme-1", "datasetId": "d"}


@pytest.mark.parametrize(("fault", "message"), [("503", "try again"), ("lost", "without response")])
def test_a_query_whose_answer_was_lost_runs_once(ctx: Context, http: HttpService, fault: str, message: str) -> None:
    http.faults = [fault]
    task = query("INSERT INTO d.t SELECT 1")
    with pytest.raises(Exception, match=message) as caught:
        task.submit(ctx, "pydag-1")
    assert is_transient(caught.value)
    assert len(http.requests) == 1

    task.submit(ctx, "pydag-1")

    assert len(http.jobs) == 1


def test_another_query_under_the_same_id_is_refused(ctx: Context, http: HttpService) -> None:
    query("SELECT 1").submit(ctx, "pydag-1")

    with pytest.raises(TaskError, match="'pydag-1' exists already, but another request made it"):
        query("SELECT 2").submit(ctx, "pydag-1")


def test_a_destination_takes_the_rows(ctx: Context) -> None:
    task = query(destination="d.t", partition_by="day", cluster_by=["a"], create="CREATE_NEVER")

    configuration = sent(task, ctx)

    assert configuration["destinationTable"] == {"projectId": "acme-1", "datasetId": "d", "tableId": "t"}
    assert configuration["writeDisposition"] == "WRITE_TRUNCATE"
    assert configuration["createDisposition"] == "CREATE_NEVER"
    assert configuration["timePartitioning"] == {"type": "DAY", "field": "day"}
    assert configuration["clustering"] == {"fields": ["a"]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"write": "WRITE_APPEND"}, "'write' is for a query with a 'destination'"),
        ({"partition_by": "day"}, "'partition_by' is for a query with a 'destination'"),
        ({"params": {"a": {"b": 1}}}, "expected a scalar, a table or a list of these, got {'b': 1}"),
        ({"params": {"a": object()}}, "expected a scalar, a table or a list of these"),
        ({"params": {"a": {"table": "a b.c"}}}, "expected a table such as"),
        ({"sql": ""}, "field 'sql'"),
        ({"maximum_bytes_billed": 0}, "field 'maximum_bytes_billed'"),
        ({"dataset": "other-project.d"}, "expected a dataset of the run's project"),
        ({"config": {"query": {"destinationTable": {}}}}, "is what the field 'destination' says"),
        ({"config": {"query": {"writeDisposition": "WRITE_APPEND"}}}, "is what the field 'write' says"),
        ({"config": {"query": "SELECT 2"}}, "'query' holds settings by name"),
        ({"reads": ["a b.c"]}, "expected a table such as"),
    ],
)
def test_a_mistake_is_told_at_construction(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        query(**fields)


def test_sql_shows_what_it_reads_and_writes(ctx: Context) -> None:
    task = query("INSERT INTO d.fact SELECT * FROM d.stg")

    assert task.reads(ctx) == frozenset({Table("acme-1.d.stg")})
    assert task.writes(ctx) == frozenset({Table("acme-1.d.fact")})
    assert task.atomic(ctx)


def test_a_destination_is_written(ctx: Context) -> None:
    assert query("SELECT * FROM d.stg", destination="d.t").writes(ctx) == frozenset({Table("acme-1.d.t")})


def test_what_a_query_replaces_as_a_whole(ctx: Context) -> None:
    both = query("CREATE OR REPLACE TABLE d.t AS SELECT 1 AS n; SELECT * FROM d.t", destination="d.u")

    assert both.replaces(ctx) == frozenset({Table("acme-1.d.t"), Table("acme-1.d.u")})
    assert query("SELECT 1 AS n", destination="d.u", write="WRITE_APPEND").replaces(ctx) == frozenset()
    assert query("INSERT INTO d.t SELECT 1").replaces(ctx) == frozenset()


@pytest.mark.parametrize(("write", "shared"), [("WRITE_APPEND", True), ("WRITE_EMPTY", False), (None, False)])
def test_a_destination_is_shared_only_by_those_who_append(ctx: Context, write: str | None, shared: bool) -> None:
    task = query(destination=Table("d.audit", shared=True), write=write)

    assert task.writes(ctx) == frozenset({Table("acme-1.d.audit", shared=shared)})


def test_a_view_stands_for_what_it_reads(ctx: Context) -> None:
    task = query("CREATE VIEW d.v AS SELECT * FROM d.t")

    assert task.views(ctx) == {Table("acme-1.d.v"): frozenset({Table("acme-1.d.t")})}


def test_a_script_may_stop_half_way(ctx: Context) -> None:
    assert not query("DELETE FROM d.t WHERE TRUE; INSERT INTO d.t SELECT 1").atomic(ctx)


def test_what_tables_made_of_files_by_the_configuration_hold_is_not_known(ctx: Context) -> None:
    tables = {"x": {"sourceUris": ["gs://bucket/x.csv"], "sourceFormat": "CSV"}}
    assert query("SELECT * FROM x", dataset="d", config={"query": {"tableDefinitions": tables}}).reads(ctx) is None


def test_declared_resources_win(ctx: Context) -> None:
    task = query("CALL d.procedure()", reads=["d.a", "gs://bucket/b"], writes=[{"table": "d.c"}])

    assert task.reads(ctx) == frozenset({Table("acme-1.d.a"), GCSObject("gs://bucket/b")})
    assert task.writes(ctx) == frozenset({Table("acme-1.d.c")})
    assert query("CALL d.procedure()").writes(ctx) is None


def test_declared_resources_survive_rendering(ctx: Context) -> None:
    task = query("CALL d.procedure()", reads=["d.a_{{ ds_nodash }}"]).rendered(ctx)

    assert task.reads(ctx) == frozenset({Table("acme-1.d.a_20220131")})


def test_sql_that_cannot_be_parsed_is_refused_on_the_local_target(ctx: Context, http: HttpService) -> None:
    with pytest.raises(DefinitionError, match=r"1"):
        query("SELEC 1 FROM").check(ctx)
    assert http.requests == []


def test_on_a_real_target_bigquery_is_the_judge_of_sql(ctx: Context) -> None:
    real = replace(ctx, clients=Clients(Target(name="acme-1", project="acme-1")))
    task = query("SELECT 1 FROM t WHEREVER x")

    task.check(real)

    assert task.reads(real) is None
    assert task.writes(real) is None
    assert not task.atomic(real)


def test_a_missing_file_is_told_before_anything_runs(ctx: Context, http: HttpService) -> None:
    with pytest.raises(DefinitionError, match=r"nothing\.sql"):
        query("nothing.sql").check(ctx)


def test_a_missing_parameter_is_told_before_anything_runs(ctx: Context, http: HttpService) -> None:
    with pytest.raises(DefinitionError, match="tabel"):
        query("SELECT * FROM {{ tabel }}", params={"table": Table("d.t")}).check(ctx)


def test_a_parameter_that_has_no_type_is_told_before_anything_runs(ctx: Context, http: HttpService) -> None:
    with pytest.raises(DefinitionError, match="does not fit INT64"):
        query("SELECT @n", params={"n": 2**70}).check(ctx)


def test_sql_in_a_bucket_is_left_for_the_run(ctx: Context, http: HttpService) -> None:
    task = query("gs://bucket/q.sql")
    before = replace(ctx, try_number=0)

    task.check(before)

    assert task.reads(before) is None
    assert http.requests == []


def test_the_result_of_a_select_counts_its_rows(ctx: Context, http: HttpService) -> None:
    task = query(destination="d.t")
    handle = task.submit(ctx, "pydag-1")
    http.end("pydag-1", query={"statementType": "SELECT", "totalBytesProcessed": "10", "totalBytesBilled": "20"})
    assert task.poll(ctx, handle) == Done()

    assert task.result(ctx, handle) == {
        "job_id": "pydag-1",
        "location": "US",
        "statement_type": "SELECT",
        "destination": "acme-1.d.t",
        "rows": 7,
        "rows_affected": None,
        "bytes_processed": 10,
        "bytes_billed": 20,
    }


def test_the_result_of_dml_counts_affected_rows(ctx: Context, http: HttpService) -> None:
    task = query("INSERT INTO d.t SELECT 1")
    handle = task.submit(ctx, "pydag-1")
    http.jobs["pydag-1"]["configuration"]["query"]["destinationTable"] = {
        "projectId": "acme-1",
        "datasetId": "_script1",
        "tableId": "anon",
    }
    http.end("pydag-1", query={"statementType": "INSERT", "numDmlAffectedRows": "3"})

    result = task.result(ctx, handle)

    assert result["rows_affected"] == 3
    assert result["destination"] is None


def test_the_result_of_ddl_names_its_table(ctx: Context, http: HttpService) -> None:
    task = query("CREATE TABLE d.t (a INT64)")
    handle = task.submit(ctx, "pydag-1")
    target = {"projectId": "acme-1", "datasetId": "d", "tableId": "t"}
    http.end("pydag-1", query={"statementType": "CREATE_TABLE", "ddlTargetTable": target})

    assert task.result(ctx, handle)["destination"] == "acme-1.d.t"


def test_a_failure_names_the_file(ctx: Context, http: HttpService) -> None:
    (ctx.folder / "q.sql").write_text("CREATE TABLE d.t (a INT64)")
    task = query("q.sql")
    handle = task.submit(ctx, "pydag-1")
    http.end(
        "pydag-1", error={"reason": "duplicate", "message": "Already Exists: Table acme-1:d.t", "location": "query"}
    )

    assert task.poll(ctx, handle) == Failed(
        reason="BigQuery query job 'pydag-1' (q.sql) failed: Already Exists: Table acme-1:d.t (duplicate)"
    )


def test_the_sql_folder_of_the_project_is_looked_in_too(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "q.sql").write_text("SELECT 2")

    assert sent(query("q.sql"), ctx)["query"] == "SELECT 2"


# the text is fixed ----------------------------------------------------------------------------------------------------


def test_a_file_edited_after_planning_changes_nothing(ctx: Context, http: HttpService) -> None:
    file = ctx.folder / "q.sql"
    file.write_text("INSERT INTO d.a SELECT 1")
    task = query("q.sql").rendered(ctx)
    task.check(ctx)

    file.write_text("DELETE FROM d.b WHERE TRUE; SELECT 2")

    assert task.writes(ctx) == frozenset({Table("acme-1.d.a")})
    assert task.atomic(ctx)
    task.submit(ctx, "pydag-1")
    assert http.requests[-1].json["configuration"]["query"]["query"] == "INSERT INTO d.a SELECT 1"
    file.unlink()
    assert task.submit(ctx, "pydag-1")["job_id"] == "pydag-1"  # sent again, it is the same request


def test_a_missing_file_is_told_when_it_is_rendered(ctx: Context) -> None:
    with pytest.raises(DefinitionError, match=r"no SQL file 'nothing\.sql'"):
        query("nothing.sql").rendered(ctx)


def test_sql_in_a_bucket_is_fixed_by_the_first_submit_of_a_try(ctx: Context, http: HttpService) -> None:
    http.objects["bucket", "q.sql"] = b"INSERT INTO d.a SELECT 1"
    http.faults = ["503"]
    task = query("gs://bucket/q.sql").rendered(ctx)
    with pytest.raises(Exception, match="try again"):
        task.submit(ctx, "pydag-1")
    http.objects["bucket", "q.sql"] = b"INSERT INTO d.a SELECT 2"

    task.submit(ctx, "pydag-1")

    assert len(http.jobs) == 1
    assert len(http.sent("GET", "/download/.*")) == 1
    task.submit(replace(ctx, try_number=2), "pydag-2")  # a new try sees the mended file
    assert http.jobs["pydag-2"]["configuration"]["query"]["query"] == "INSERT INTO d.a SELECT 2"


def test_sql_in_a_bucket_that_was_fetched_is_what_every_try_sends(ctx: Context, http: HttpService) -> None:
    http.objects["bucket", "q.sql"] = b"INSERT INTO d.a SELECT 1"
    task = query("gs://bucket/q.sql").rendered(ctx)
    assert task.writes(ctx) is None

    assert task.fetch(ctx)

    assert task.writes(ctx) == frozenset({Table("acme-1.d.a")})
    http.objects["bucket", "q.sql"] = b"INSERT INTO d.b SELECT 2"
    task.submit(replace(ctx, try_number=2), "pydag-2")
    assert http.jobs["pydag-2"]["configuration"]["query"]["query"] == "INSERT INTO d.a SELECT 1"
    assert len(http.sent("GET", "/download/.*")) == 1


def test_whether_sql_in_a_bucket_is_atomic_is_never_asked_of_the_bucket(ctx: Context, http: HttpService) -> None:
    http.objects["bucket", "q.sql"] = b"INSERT INTO d.a SELECT 1"
    task = query("gs://bucket/q.sql").rendered(ctx)

    assert not task.atomic(ctx)
    assert http.requests == []
    task.submit(ctx, "pydag-1")
    before = len(http.requests)
    assert task.atomic(ctx)
    assert task.writes(ctx) == frozenset({Table("acme-1.d.a")})
    assert len(http.requests) == before


def test_a_download_that_fails_for_now_is_made_once(ctx: Context, http: HttpService) -> None:
    http.silent = ["GET /download/.*"]

    with pytest.raises(Exception, match="without response") as caught:
        query("gs://bucket/q.sql").submit(ctx, "pydag-1")

    assert is_transient(caught.value)
    assert len(http.sent("GET", "/download/.*")) == 1


def test_sql_is_parsed_once(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    analyse = sql.analyse

    def counted(found: sql.Query, **names: Any) -> sql.Analysis:
        parsed.append(found.sql)
        return analyse(found, **names)

    monkeypatch.setattr(sql, "analyse", counted)
    task = query("INSERT INTO d.a SELECT {{ ds }}").rendered(ctx)

    task.check(ctx)
    assert task.reads(ctx) == frozenset()
    assert task.writes(ctx) == frozenset({Table("acme-1.d.a")})
    assert task.atomic(ctx)

    assert len(parsed) == 1


def test_partitions_by_a_template_are_rendered(ctx: Context) -> None:
    task = query(destination="d.t", partition_by="day_{{ ds_nodash }}").rendered(ctx)

    assert sent(task, ctx)["timePartitioning"] == {"type": "DAY", "field": "day_20220131"}


# values known at run time -------------------------------------------------------------------------------------------


def came_to(ctx: Context, **results: Any) -> Context:
    return replace(ctx, outputs=results.__getitem__)


COUNT = Output("count")


def test_before_the_run_an_output_stands_as_null_and_is_not_bound(ctx: Context) -> None:
    task = query(
        "SELECT * FROM d.t WHERE n > {{ n }} AND m IN UNNEST(@many) LIMIT {{ params.n }}",
        params={"n": COUNT["rows"], "many": [1, COUNT["rows"]]},
    ).rendered(ctx)

    task.check(ctx)

    assert sent(task, ctx)["query"] == "SELECT * FROM d.t WHERE n > NULL AND m IN UNNEST(@many) LIMIT NULL"
    assert task.reads(ctx) == frozenset({Table("acme-1.d.t")})


def test_in_the_run_it_is_written_and_bound_like_any_value(ctx: Context) -> None:
    task = query("SELECT {{ n }}, @many, {{ text }}", params={"n": COUNT, "many": [1, COUNT], "text": Output("text")})

    resolved = task.resolved(came_to(ctx, count=7, text="it's {{ ds }} `; DROP"))

    assert sent(resolved, ctx)["query"] == r"SELECT 7, @many, 'it\'s {{ ds }} `; DROP'"
    (many,) = sent(resolved, ctx)["queryParameters"]
    assert [value["value"] for value in many["parameterValue"]["arrayValues"]] == ["1", "7"]


def test_a_file_that_was_edited_meanwhile_is_not_read_again(ctx: Context) -> None:
    (ctx.folder / "q.sql").write_text("SELECT {{ n }}")
    task = query("q.sql", params={"n": COUNT}).rendered(ctx)
    (ctx.folder / "q.sql").write_text("DROP TABLE d.t")

    assert sent(task.resolved(came_to(ctx, count=1)), ctx)["query"] == "SELECT 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT * FROM {{ n | ident }}", "count.output is not known before the run; write it as a whole"),
        ("SELECT {{ n | raw }}", "count.output is not known"),
        ("SELECT {% if n %} 1 {% else %} 2 {% endif %}", "count.output is not known"),
        ("SELECT {% if n == 1 %} 1 {% else %} 2 {% endif %}", "count.output is not known"),
        ("SELECT {% if n is none %} 1 {% else %} 2 {% endif %}", "count.output is not known"),
        ("SELECT {% if 1 in [n] %} 1 {% else %} 2 {% endif %}", "count.output is not known"),
        ("SELECT {{ n + 1 }}", "count.output is not known"),
        ("SELECT {{ n | default(3) }}", "count.output is not known"),
        ("SELECT {% for x in n %} {{ x }} {% endfor %} 1", "count.output is not known"),
        ("SELECT {{ n.rows }}", "attribute 'rows'"),
    ],
)
def test_what_a_statement_does_cannot_depend_on_it(ctx: Context, text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        query(text, params={"n": COUNT}).check(ctx)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"table": "d.t"}, "parameter 'n': count.output is a table; what a statement reads must be known before"),
        ([{"table": "d.t"}], "parameter 'n': count.output is a table"),
        ({"rows": 1}, "field 'params.n.*': expected a scalar, a table or a list of these"),
    ],
)
def test_it_must_turn_out_to_be_a_scalar_or_a_list_of_scalars(ctx: Context, value: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        query("SELECT {{ n }}", params={"n": COUNT}).resolved(came_to(ctx, count=value))


def test_the_params_have_names_that_are_known(ctx: Context) -> None:
    with pytest.raises(DefinitionError, match=r"'params' gives each value a name: write {'name': count\.output}"):
        query("SELECT 1", params=COUNT)


def test_a_limit_of_bytes_may_come_from_upstream(ctx: Context) -> None:
    task = query(maximum_bytes_billed=COUNT)
    task.check(ctx)

    assert sent(task.resolved(came_to(ctx, count=10)), ctx)["maximumBytesBilled"] == "10"
    with pytest.raises(TaskError, match="field 'maximum_bytes_billed': input should be greater than or equal to 1"):
        task.resolved(came_to(ctx, count=0))


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("SELECT * FROM d.t", {}, True),
        ("SELECT CURRENT_DATE()", {}, False),
        ("SELECT CURRENT_DATE()", {"cache": True}, False),
        ("CALL d.p()", {}, False),
        ("CALL d.p()", {"cache": True, "reads": [], "writes": ["d.t"]}, True),
        ("CALL d.p()", {"cache": False, "reads": [], "writes": ["d.t"]}, False),
    ],
)
def test_chance_is_seen_in_the_sql_or_ruled_out_by_its_author(
    ctx: Context, text: str, fields: dict[str, Any], expected: bool
) -> None:
    assert query(text, **fields).deterministic(ctx) is expected


def test_a_query_knows_what_it_only_shapes(ctx: Context) -> None:
    assert query("CREATE TABLE IF NOT EXISTS d.t (id INT64)").shapes(ctx) == {Table("acme-1.d.t")}
    assert query("INSERT d.t VALUES (1)").shapes(ctx) == frozenset()
    assert query("CALL d.p()").shapes(ctx) == frozenset()
