"""What SQL reads and writes: a corpus of statements, each with what it must be found to do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import GCSObject, Resource, Table
from pydag_gcp.sql import Analysis, Query, analyse

PROJECT = "proj"
DATASET = "home"


@dataclass(frozen=True)
class Case:
    """A statement, and what it does: names of tables, None for not known."""

    sql: str
    kind: str
    reads: str | None = ""
    writes: str | None = ""
    replaces: bool = False
    atomic: bool = True
    steady: bool = True


def opaque(sql: str) -> Case:
    return Case(sql, "SCRIPT", None, None, atomic=False, steady=False)


QUERIES = [
    Case("SELECT 1", "SELECT"),
    Case("select * from d.t", "SELECT", "d.t"),
    Case("SELECT * FROM t", "SELECT", "home.t"),
    Case("SELECT * FROM `d.t`", "SELECT", "d.t"),
    Case("SELECT * FROM `d`.`t`", "SELECT", "d.t"),
    Case("SELECT * FROM `other-1.d.t`", "SELECT", "other-1.d.t"),
    Case("SELECT * FROM `other-1`.`d`.`t`", "SELECT", "other-1.d.t"),
    Case("SELECT * FROM other-1.d.t", "SELECT", "other-1.d.t"),
    Case("SELECT * FROM `example.com:legacy.d.t`", "SELECT", "example.com:legacy.d.t"),
    Case("SELECT * FROM d.t AS a JOIN d.u AS b USING (id)", "SELECT", "d.t d.u"),
    Case("SELECT * FROM d.t, d.u, u", "SELECT", "d.t d.u home.u"),
    Case("SELECT * FROM d.t LEFT JOIN (SELECT * FROM d.u) AS x ON t.id = x.id", "SELECT", "d.t d.u"),
    Case("SELECT * FROM (d.t JOIN d.u USING (id))", "SELECT", "d.t d.u"),
    Case("SELECT * FROM d.t UNION ALL SELECT * FROM d.u EXCEPT DISTINCT SELECT * FROM d.v", "SELECT", "d.t d.u d.v"),
    Case("(SELECT * FROM d.t)", "SELECT", "d.t"),
    Case("SELECT (SELECT MAX(x) FROM d.u WHERE u.id = t.id) FROM d.t", "SELECT", "d.t d.u"),
    Case("SELECT * FROM d.t WHERE id IN (SELECT id FROM d.u) AND EXISTS (SELECT 1 FROM d.v)", "SELECT", "d.t d.u d.v"),
    Case("SELECT ARRAY(SELECT x FROM d.u) FROM d.t", "SELECT", "d.t d.u"),
    Case("SELECT * FROM d.t WHERE x = 'FROM d.hidden' -- FROM d.comment", "SELECT", "d.t"),
    Case("SELECT 1 /* all of gs://b/*.csv */ FROM d.t", "SELECT", "d.t"),  # GoogleSQL does not nest comments
    Case("# FROM d.u\nSELECT 1 FROM d.t", "SELECT", "d.t"),
    Case("SELECT * FROM d.t PIVOT(SUM(x) FOR q IN ('a', 'b'))", "SELECT", "d.t"),
    Case("SELECT * FROM d.t UNPIVOT(x FOR q IN (a, b))", "SELECT", "d.t"),
    Case("SELECT * FROM d.t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) = 1", "SELECT", "d.t"),
    Case("SELECT x FROM d.t GROUP BY ROLLUP(x) HAVING COUNT(*) > (SELECT MIN(n) FROM d.u)", "SELECT", "d.t d.u"),
    Case("SELECT STRUCT(1 AS a).a, [1, 2][OFFSET(0)], @p, CAST(x AS STRING) FROM d.t", "SELECT", "d.t"),
    Case("FROM d.t |> WHERE a > 1 |> AGGREGATE COUNT(*) GROUP BY b", "SELECT", "d.t"),
    Case("SELECT * FROM d.t;", "SELECT", "d.t"),
]

WITH = [
    Case("WITH q AS (SELECT * FROM d.t) SELECT * FROM q", "SELECT", "d.t"),
    Case("WITH q AS (SELECT * FROM d.t) SELECT * FROM Q", "SELECT", "d.t"),  # CTE names have no case
    Case("WITH t AS (SELECT * FROM t) SELECT * FROM t", "SELECT", "home.t"),
    Case("WITH a AS (SELECT 1), b AS (SELECT * FROM a, c), c AS (SELECT 2) SELECT * FROM b", "SELECT", "home.c"),
    Case("WITH q AS (SELECT 1) SELECT * FROM d.q", "SELECT", "d.q"),
    Case("WITH q AS (WITH r AS (SELECT * FROM d.t) SELECT * FROM r) SELECT * FROM q, r", "SELECT", "d.t home.r"),
    Case("SELECT * FROM (WITH q AS (SELECT * FROM d.t) SELECT * FROM q), q", "SELECT", "d.t home.q"),
    Case("WITH q AS (SELECT 1) SELECT (SELECT COUNT(*) FROM q) FROM d.t WHERE x IN (SELECT * FROM q)", "SELECT", "d.t"),
    Case("WITH RECURSIVE q AS (SELECT 1 n UNION ALL SELECT n + 1 FROM q WHERE n < 9) SELECT * FROM q", "SELECT"),
    Case("WITH q AS (SELECT * FROM d.t) SELECT 1 UNION ALL SELECT * FROM q", "SELECT", "d.t"),
]

ARRAYS = [
    Case("SELECT * FROM d.t, t.items", "SELECT", "d.t"),
    Case("SELECT * FROM d.t AS x, x.items AS item, item.parts", "SELECT", "d.t"),
    Case("SELECT * FROM d.t AS x CROSS JOIN UNNEST(x.items) AS item", "SELECT", "d.t"),
    Case("SELECT * FROM d.t AS x LEFT JOIN x.items", "SELECT", "d.t"),
    Case("SELECT (SELECT COUNT(*) FROM x.items) FROM d.t AS x", "SELECT", "d.t"),
    Case(
        "SELECT * FROM d.t AS X WHERE EXISTS (SELECT 1 FROM x.items WHERE v IN (SELECT v FROM d.u))",
        "SELECT",
        "d.t d.u",
    ),
    Case("SELECT * FROM UNNEST([1, 2, 3]) AS n", "SELECT"),
    Case("SELECT * FROM UNNEST(ARRAY(SELECT id FROM d.t))", "SELECT", "d.t"),
    Case("WITH q AS (SELECT [1] AS a) SELECT * FROM q, q.a", "SELECT"),
    Case("SELECT * FROM d.x, (SELECT * FROM x.t)", "SELECT", "d.x x.t"),  # a subquery in FROM sees no neighbour
]

UNKNOWN = [
    Case("SELECT * FROM `d.events_*` WHERE _TABLE_SUFFIX = '20220101'", "SELECT", "d.events_*"),
    Case("SELECT * FROM `d.t$20220131`", "SELECT", "d.t$20220131"),
    Case("SELECT table_name FROM d.INFORMATION_SCHEMA.TABLES", "SELECT", None, steady=False),
    Case("SELECT * FROM `region-us`.INFORMATION_SCHEMA.JOBS, d.t", "SELECT", None, steady=False),
    Case("SELECT * FROM `region-us.INFORMATION_SCHEMA.JOBS`", "SELECT", None, steady=False),
    Case("SELECT * FROM INFORMATION_SCHEMA.SCHEMATA", "SELECT", None, steady=False),
    Case("SELECT * FROM d.__TABLES__", "SELECT", None, steady=False),
    Case("SELECT * FROM d.rows_of(1)", "SELECT", None, steady=False),
    Case("SELECT d.price(x) FROM d.t", "SELECT", None, steady=False),
    Case("SELECT other.d.price(x) FROM d.t", "SELECT", None, steady=False),
    Case("SELECT `other.d.price`(x) FROM d.t", "SELECT", None, steady=False),
    Case("SELECT d.sum(x) FROM d.t", "SELECT", None, steady=False),
    Case("SELECT price(x) FROM d.t", "SELECT", None, steady=False),
    Case("SELECT price(x).net FROM d.t", "SELECT", None, steady=False),
    Case("SELECT * FROM ML.PREDICT(MODEL d.m, TABLE d.t)", "SELECT", None, steady=False),
    Case("SELECT * FROM EXTERNAL_QUERY('conn', 'SELECT 1')", "SELECT", None, steady=False),
    Case("SELECT * FROM a.b.c.d.e", "SELECT", None, steady=False),
    Case(
        "SELECT NET.HOST(u), SAFE.SUBSTR(u, 1), HLL_COUNT.INIT(u), ST_AREA(g), JSON_VALUE(j, '$.a') FROM d.t",
        "SELECT",
        "d.t",
    ),
    Case(
        "SELECT SAFE_CAST(x AS INT64), FARM_FINGERPRINT(s), IEEE_DIVIDE(1, 2), SEARCH(s, 'a') FROM d.t", "SELECT", "d.t"
    ),
    Case("SELECT DATE_ADD(d, INTERVAL 1 DAY), TIMESTAMP_TRUNC(ts, HOUR) FROM d.t", "SELECT", "d.t"),
]

UNSTEADY = [
    Case("SELECT CURRENT_DATE() FROM d.t", "SELECT", "d.t", steady=False),
    Case("SELECT CURRENT_DATE", "SELECT", steady=False),
    Case("SELECT CURRENT_TIMESTAMP(), CURRENT_DATETIME('UTC'), CURRENT_TIME", "SELECT", steady=False),
    Case("SELECT x FROM d.t WHERE RAND() < 0.1", "SELECT", "d.t", steady=False),
    Case("SELECT GENERATE_UUID()", "SELECT", steady=False),
    Case("SELECT SESSION_USER()", "SELECT", steady=False),
    Case("SELECT @@project_id", "SELECT", steady=False),
    Case("SELECT * FROM d.t TABLESAMPLE SYSTEM (10 PERCENT)", "SELECT", "d.t", steady=False),
    Case("SELECT * FROM d.t FOR SYSTEM_TIME AS OF TIMESTAMP '2022-01-01'", "SELECT", "d.t", steady=False),
    Case("INSERT d.t SELECT CURRENT_DATE(), x FROM d.u", "INSERT", "d.u", "d.t", steady=False),
]

DML = [
    Case("INSERT INTO d.t VALUES (1, 'a')", "INSERT", "", "d.t"),
    Case("INSERT d.t (a, b) SELECT a, b FROM d.u", "INSERT", "d.u", "d.t"),
    Case("INSERT INTO d.t SELECT * FROM d.t", "INSERT", "d.t", "d.t"),
    Case("INSERT INTO d.t WITH q AS (SELECT * FROM d.u) SELECT * FROM q", "INSERT", "d.u", "d.t"),
    Case("INSERT INTO d.t VALUES (1, (SELECT MAX(a) FROM d.u))", "INSERT", "d.u", "d.t"),
    Case("INSERT INTO d.t (SELECT * FROM d.u UNION ALL SELECT * FROM d.v)", "INSERT", "d.u d.v", "d.t"),
    Case("UPDATE d.t SET a = 1 WHERE b = 2", "UPDATE", "d.t", "d.t"),
    Case("UPDATE d.t AS x SET a = s.a FROM d.s AS s WHERE x.id = s.id", "UPDATE", "d.s d.t", "d.t"),
    Case("UPDATE d.t SET a = (SELECT MAX(a) FROM d.u) WHERE TRUE", "UPDATE", "d.t d.u", "d.t"),
    Case("UPDATE d.t SET a = ARRAY(SELECT i FROM t.items AS i) WHERE TRUE", "UPDATE", "d.t", "d.t"),
    Case("DELETE FROM d.t WHERE a IN (SELECT a FROM d.u)", "DELETE", "d.t d.u", "d.t"),
    Case("DELETE d.t WHERE a = 1", "DELETE", "d.t", "d.t"),
    Case("DELETE d.t WHERE true", "DELETE", "d.t", "d.t", replaces=True),
    Case("TRUNCATE TABLE d.t", "TRUNCATE_TABLE", "", "d.t", replaces=True),
    Case("MERGE d.t USING d.s ON FALSE WHEN NOT MATCHED THEN INSERT VALUES ((SELECT MAX(a) FROM d.u), 1)",
         "MERGE", "d.s d.t d.u", "d.t"),
    Case(
        "MERGE d.t AS t USING d.s AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = s.a "
        "WHEN NOT MATCHED THEN INSERT (id, a) VALUES (id, a) WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "MERGE", "d.s d.t", "d.t",
    ),
    Case("MERGE INTO d.t USING (SELECT * FROM d.s JOIN d.u USING (id)) s ON FALSE WHEN NOT MATCHED THEN INSERT ROW",
         "MERGE", "d.s d.t d.u", "d.t"),
]  # fmt: skip

DDL = [
    Case("CREATE TABLE d.t (id INT64 NOT NULL, day DATE DEFAULT CURRENT_DATE())", "CREATE_TABLE", "", "d.t"),
    Case("CREATE TABLE IF NOT EXISTS d.t (id INT64) PARTITION BY day CLUSTER BY id", "CREATE_TABLE", "", "d.t"),
    Case("CREATE OR REPLACE TABLE d.t (id INT64)", "CREATE_TABLE", "", "d.t", replaces=True),
    Case("CREATE TABLE d.t (id INT64, FOREIGN KEY (id) REFERENCES d.u(id) NOT ENFORCED)", "CREATE_TABLE", "", "d.t"),
    Case("CREATE TABLE d.t AS SELECT * FROM d.u", "CREATE_TABLE_AS_SELECT", "d.u", "d.t"),
    Case("CREATE OR REPLACE TABLE d.t PARTITION BY DATE(ts) OPTIONS (description = 'FROM d.x') AS "
         "WITH q AS (SELECT * FROM d.u) SELECT * FROM q", "CREATE_TABLE_AS_SELECT", "d.u", "d.t", replaces=True),
    Case("CREATE TABLE d.t LIKE d.u", "CREATE_TABLE", "d.u", "d.t"),
    Case("CREATE TABLE d.t COPY d.u", "CREATE_TABLE", "d.u", "d.t"),
    Case("CREATE OR REPLACE TABLE d.t CLONE d.u", "CREATE_TABLE", "d.u", "d.t", replaces=True),
    Case("CREATE EXTERNAL TABLE d.t OPTIONS (format = 'CSV', uris = ['gs://b/x.csv'])",
         "CREATE_EXTERNAL_TABLE", None, "d.t"),
    Case("CREATE VIEW d.v AS SELECT * FROM d.t", "CREATE_VIEW", "d.t", "d.v"),
    Case("CREATE OR REPLACE VIEW v AS SELECT a FROM t", "CREATE_VIEW", "home.t", "home.v", replaces=True),
    Case("CREATE MATERIALIZED VIEW d.v AS SELECT a, COUNT(*) n FROM d.t GROUP BY a",
         "CREATE_MATERIALIZED_VIEW", "d.t", "d.v"),
    Case("DROP TABLE IF EXISTS d.t", "DROP_TABLE", "", "d.t", replaces=True),
    Case("DROP VIEW d.v", "DROP_VIEW", "", "d.v", replaces=True),
    Case("DROP SCHEMA d CASCADE", "DROP_SCHEMA", "", "d.*", replaces=True),
    Case("CREATE SCHEMA IF NOT EXISTS d OPTIONS (location = 'EU')", "CREATE_SCHEMA", "", "d.*"),
    Case("ALTER TABLE d.t ADD COLUMN a INT64", "ALTER_TABLE", "", "d.t"),
    Case("ALTER TABLE d.t SET OPTIONS (description = 'x')", "ALTER_TABLE", "", "d.t"),
    Case("ALTER TABLE d.t RENAME TO u", "ALTER_TABLE", "", "d.t d.u"),
    Case("CREATE FUNCTION d.f(x INT64) AS (x + 1)", "CREATE_FUNCTION", "", None, steady=False),
    Case("CREATE MODEL d.m OPTIONS (model_type = 'linear_reg') AS SELECT * FROM d.t",
         "CREATE_MODEL", "d.t", None, steady=False),
    Case("EXPORT DATA OPTIONS (uri = 'gs://b/*.csv', format = 'CSV') AS SELECT * FROM d.t",
         "EXPORT_DATA", "d.t", None, atomic=False),
    Case("EXPORT DATA WITH CONNECTION `us.c` OPTIONS (uri = 'gs://b/*') AS (SELECT * FROM d.t)",
         "EXPORT_DATA", "d.t", None, atomic=False),
    Case("LOAD DATA INTO d.t FROM FILES (format = 'CSV', uris = ['gs://b/x'])", "LOAD_DATA", None, "d.t", atomic=False),
    Case("LOAD DATA OVERWRITE d.t FROM FILES (format = 'CSV', uris = ['gs://b/x'])",
         "LOAD_DATA", None, "d.t", replaces=True, atomic=False),
]  # fmt: skip

OPAQUE = [
    opaque("CALL d.refresh(1)"),
    opaque("EXECUTE IMMEDIATE 'DROP TABLE d.t'"),
    opaque("BEGIN INSERT INTO d.t VALUES (1); EXCEPTION WHEN ERROR THEN SELECT 1; END"),
    opaque("DECLARE n INT64; SET n = 1; IF n > 0 THEN INSERT INTO d.t VALUES (1); END IF"),
    opaque("LOOP SELECT 1; LEAVE; END LOOP"),
    opaque("WHILE TRUE DO SELECT 1; END WHILE"),
    opaque("FOR r IN (SELECT * FROM d.t) DO SELECT r.x; END FOR"),
    opaque("outer_loop: LOOP BREAK outer_loop; END LOOP"),
    opaque("ASSERT (SELECT COUNT(*) FROM d.t) > 0 AS 'empty'"),
    opaque("RAISE USING MESSAGE = 'no'"),
    opaque("GRANT `roles/bigquery.dataViewer` ON TABLE d.t TO 'user:a@example.com'"),
    opaque("CREATE PROCEDURE d.p() BEGIN SELECT 1; END"),
    opaque("CREATE SNAPSHOT TABLE d.s CLONE d.t"),
    opaque("CREATE ROW ACCESS POLICY p ON d.t GRANT TO ('user:a@example.com') FILTER USING (x = 1)"),
    opaque("INSERT INTO d.t VALUES (1); CALL d.refresh(1)"),
]

CASES = [*QUERIES, *WITH, *ARRAYS, *UNKNOWN, *UNSTEADY, *DML, *DDL, *OPAQUE]


def tables(names: str | None) -> frozenset[Table] | None:
    return None if names is None else frozenset(Table(name).qualified(PROJECT) for name in names.split())


def analysed(sql: str, dataset: str | None = DATASET) -> Analysis:
    return analyse(Query(sql=sql), project=PROJECT, dataset=dataset)


def test_the_corpus_is_not_small() -> None:
    assert len({case.sql for case in CASES}) == len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sql[:60])
def test_one_statement(case: Case) -> None:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax and, beside it, of DML and DDL."""
    # When
    found = analysed(case.sql)
    # Then
    assert [statement.kind for statement in found.statements] == [case.kind]
    assert (found.reads, found.writes) == (tables(case.reads), tables(case.writes))
    assert found.statements[0].replaces is case.replaces
    assert (found.single_atomic, found.deterministic) == (case.atomic, case.steady)


SCRIPTS = [
    # sql, kinds, reads, writes
    ("CREATE OR REPLACE TABLE d.t AS SELECT 1 x; INSERT d.t SELECT * FROM d.u",
     "CREATE_TABLE_AS_SELECT INSERT", "d.u", "d.t"),
    ("CREATE TEMP TABLE x AS SELECT * FROM d.t; INSERT d.u SELECT * FROM X; DROP TABLE x",
     "CREATE_TABLE_AS_SELECT INSERT DROP_TABLE", "d.t", "d.u"),
    ("INSERT d.u SELECT * FROM x; CREATE TEMP TABLE x AS SELECT 1", "INSERT CREATE_TABLE_AS_SELECT", "home.x", "d.u"),
    ("CREATE TEMP TABLE x (a INT64); INSERT x VALUES (1); SELECT * FROM _SESSION.x",
     "CREATE_TABLE INSERT SELECT", "", ""),
    ("DECLARE n INT64 DEFAULT (SELECT MAX(a) FROM d.t); SET n = (SELECT n + b FROM d.u); DELETE d.v WHERE a = n",
     "DECLARE SET DELETE", "d.t d.u d.v", "d.v"),
    ("BEGIN TRANSACTION; DELETE d.t WHERE TRUE; INSERT d.t SELECT * FROM d.u; COMMIT TRANSACTION",
     "BEGIN_TRANSACTION DELETE INSERT COMMIT_TRANSACTION", "d.t d.u", "d.t"),
    ("LOAD DATA INTO TEMP TABLE x FROM FILES (format = 'CSV', uris = ['gs://b/x']); INSERT d.t SELECT * FROM x",
     "LOAD_DATA INSERT", None, "d.t"),
    ("SELECT 1; EXPORT DATA OPTIONS (uri = 'gs://b/*') AS SELECT * FROM d.t", "SELECT EXPORT_DATA", "d.t", None),
    ("SELECT * FROM d.t; SELECT d.f(x) FROM d.u", "SELECT SELECT", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "kinds", "reads", "writes"), SCRIPTS)
def test_several_statements_are_never_atomic(sql: str, kinds: str, reads: str | None, writes: str | None) -> None:
    found = analysed(sql)
    assert [statement.kind for statement in found.statements] == kinds.split()
    assert (found.reads, found.writes) == (tables(reads), tables(writes))
    assert not found.single_atomic


def test_temporary_functions_are_part_of_the_statement_that_calls_them() -> None:
    """https://cloud.google.com/bigquery/docs/user-defined-functions."""
    found = analysed("CREATE TEMP FUNCTION net(x INT64) AS (x - 1); INSERT d.t SELECT NET(x) FROM d.u")
    assert (found.reads, found.writes) == (tables("d.u"), tables("d.t"))
    assert found.single_atomic
    assert found.deterministic


def test_javascript_is_not_known_to_be_deterministic() -> None:
    found = analysed(
        'CREATE TEMP FUNCTION f() RETURNS INT64 LANGUAGE js AS "return Math.random()"; SELECT f() FROM d.t'
    )
    assert found.reads == tables("d.t")
    assert not found.deterministic


def test_a_table_of_a_parameter_is_that_very_parameter() -> None:
    """So that ``shared`` is not lost on the way."""
    audit = Table("proj.d.audit", shared=True)
    query = Query(sql="INSERT `proj`.`d`.`audit` VALUES (1)", tables=frozenset({audit}))
    assert analyse(query, project=PROJECT, dataset=None).writes == frozenset({audit})


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELCT 1", "line 1, column 1: no SQL statement begins with 'SELCT'; did you mean 'SELECT'?"),
        ("SELECT a,\n  FROM WHERE x", "line 2, column 8: SQL syntax error near 'WHERE'"),
        ("SELECT (1 FROM d.t", "line 1, column 11: SQL syntax error near 'FROM': expected )"),
        ("SELECT 'abc", "line 1, column 8: ' is never closed"),
        ("SELECT 1\n/* x", "line 2, column 1: /* is never closed"),
        ("", "there is no SQL statement"),
        (" -- nothing\n;;", "there is no SQL statement"),
        ("SELECT 1;\nfoo", "line 2, column 1: no SQL statement begins with 'foo'"),
        ("/* one\n two */ SELECT * FORM d.t", "line 2, column 23: SQL syntax error near 'd'; did you mean 'FROM'?"),
        ("SELECT * FROM d.t WHER a = 1", "line 1, column 24: SQL syntax error near 'a'; did you mean 'WHERE'?"),
    ],
)
def test_sql_that_does_not_parse_is_refused_at_its_place(sql: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        analysed(sql)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_without_a_dataset_is_refused_at_its_place() -> None:
    with pytest.raises(DefinitionError) as caught:
        analysed("SELECT *\nFROM d.t\nJOIN orders USING (id)", dataset=None)
    assert "line 3, column 6: table 'orders' has no dataset; write it as dataset.table" in str(caught.value)


def test_statements_unknown_to_the_parser_leave_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    analysed("CREATE SNAPSHOT TABLE d.s CLONE d.t")
    assert not caplog.records


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(DML[:8])))
def test_the_whole_is_the_union_of_its_statements(first: Case, second: Case) -> None:
    both = analysed(f"{first.sql};\n-- and\n{second.sql};")
    assert both.reads == (tables(first.reads) or frozenset()) | (tables(second.reads) or frozenset())
    assert both.writes == (tables(first.writes) or frozenset()) | (tables(second.writes) or frozenset())


WORDS = "SELECT FROM WHERE d.t ( ) , ; * 'a' `b` 1 @p WITH AS BEGIN END IF INSERT -- /* */"


@settings(max_examples=300)
@given(st.lists(st.sampled_from(tuple(WORDS.split(" ")))))
def test_any_text_is_analysed_or_refused_in_one_line(words: list[str]) -> None:
    complaint = ""
    try:
        analysed(" ".join(words))
    except DefinitionError as error:
        complaint = str(error)
    assert "\n" not in complaint


def test_deep_nesting_does_not_break_it() -> None:
    sql = "SELECT * FROM d.t WHERE " + " AND ".join(f"a = {n}" for n in range(3000))
    assert analysed(sql).reads == tables("d.t")


@pytest.mark.parametrize(
    ("sql", "reads", "writes"),
    [
        (
            "EXPORT DATA OPTIONS (uri = 'gs://bucket/out/*.csv', format = 'CSV') AS SELECT * FROM d.t",
            {Table("proj.d.t")},
            {GCSObject("gs://bucket/out/*.csv")},
        ),
        (
            "LOAD DATA INTO d.t FROM FILES (format = 'CSV', uris = ['gs://bucket/a.csv', 'gs://bucket/b*'])",
            {GCSObject("gs://bucket/a.csv"), GCSObject("gs://bucket/b*")},
            {Table("proj.d.t")},
        ),
        (
            "CREATE EXTERNAL TABLE d.t OPTIONS (format = 'CSV', uris = ['gs://bucket/a.csv'])",
            {GCSObject("gs://bucket/a.csv")},
            {Table("proj.d.t")},
        ),
        ("EXPORT DATA OPTIONS (uri = CONCAT('gs://bucket/', 'x*')) AS SELECT 1", set(), None),
        ("LOAD DATA INTO d.t FROM FILES (format = 'CSV', uris = ['s3://bucket/a'])", None, {Table("proj.d.t")}),
    ],
)
def test_objects_that_are_named_are_known(sql: str, reads: set[Resource] | None, writes: set[Resource] | None) -> None:
    found = analysed(sql)

    assert (found.reads, found.writes) == (reads, writes)


def test_what_is_replaced_as_a_whole() -> None:
    found = analysed("CREATE OR REPLACE TABLE d.t AS SELECT 1 x; INSERT d.u SELECT * FROM d.t; TRUNCATE TABLE d.v")

    assert found.replaces == tables("d.t d.v")


def test_views_and_external_tables_stand_for_what_they_read() -> None:
    found = analysed(
        "CREATE VIEW d.v AS SELECT * FROM d.t; CREATE MATERIALIZED VIEW d.m AS SELECT n FROM d.u;"
        "CREATE EXTERNAL TABLE d.e OPTIONS (format = 'CSV', uris = ['gs://bucket/a.csv']);"
        "CREATE VIEW d.unknown AS SELECT d.f(x) FROM d.t; CREATE TABLE d.x AS SELECT * FROM d.t"
    )

    assert found.views == {
        Table("proj.d.v"): tables("d.t"),
        Table("proj.d.m"): tables("d.u"),
        Table("proj.d.e"): {GCSObject("gs://bucket/a.csv")},
    }


@pytest.mark.parametrize(
    ("sql", "shared"),
    [
        ("INSERT `d.audit` VALUES (1)", True),
        ("CREATE TABLE IF NOT EXISTS d.audit (n INT64); INSERT d.audit VALUES (1)", True),
        ("LOAD DATA INTO d.audit FROM FILES (format = 'CSV', uris = ['gs://bucket/a.csv'])", True),
        ("CREATE OR REPLACE TABLE d.audit (n INT64)", False),
        ("UPDATE d.audit SET n = 1 WHERE TRUE", False),
        ("DELETE d.audit WHERE n = 1", False),
        ("MERGE d.audit AS a USING d.t AS t ON FALSE WHEN NOT MATCHED THEN INSERT ROW", False),
        ("DROP TABLE d.audit", False),
        ("INSERT d.audit VALUES (1); DELETE d.audit WHERE n = 1", None),
    ],
)
def test_a_table_is_shared_only_by_those_who_append(sql: str, shared: bool | None) -> None:
    audit = Table("proj.d.audit", shared=True)

    found = analyse(Query(sql=sql, tables=frozenset({audit})), project=PROJECT, dataset=None)

    appended, changed = frozenset[Resource]({audit}), frozenset[Resource]({Table("proj.d.audit")})
    assert found.writes == (appended | changed if shared is None else appended if shared else changed)


@pytest.mark.parametrize(
    ("sql", "shapes"),
    [
        ("CREATE TABLE IF NOT EXISTS d.t (id INT64)", "d.t"),
        ("CREATE TABLE d.t (id INT64)", "d.t"),
        ("CREATE TABLE IF NOT EXISTS d.t LIKE d.u", "d.t"),
        ("CREATE SCHEMA IF NOT EXISTS d", "d.*"),
        ("CREATE OR REPLACE TABLE d.t (id INT64)", ""),
        ("CREATE TABLE IF NOT EXISTS d.t AS SELECT 1 AS id", ""),
        ("CREATE TABLE IF NOT EXISTS d.t CLONE d.u", ""),
        ("CREATE TABLE d.t COPY d.u", ""),
        ("CREATE VIEW d.t AS SELECT 1 AS id", ""),
        ("ALTER TABLE d.t ADD COLUMN x INT64", ""),
        ("CREATE TABLE IF NOT EXISTS d.t (id INT64); INSERT d.t VALUES (1)", ""),
        ("CREATE TABLE IF NOT EXISTS d.t (id INT64); INSERT d.u VALUES (1)", "d.t"),
        ("CREATE SCHEMA IF NOT EXISTS d; CREATE TABLE IF NOT EXISTS d.t (id INT64)", "d.* d.t"),
        ("CREATE SCHEMA IF NOT EXISTS d; INSERT d.t VALUES (1)", "d.*"),
        ("DROP SCHEMA d CASCADE; CREATE SCHEMA d; CREATE TABLE d.t (id INT64)", ""),
    ],
)
def test_what_only_shapes_a_table_touches_no_row(sql: str, shapes: str) -> None:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#create_table_statement."""
    assert analyse(Query(sql=sql), project="pr-1", dataset=None).shapes == {
        Table(f"pr-1.{name}") for name in shapes.split()
    }
