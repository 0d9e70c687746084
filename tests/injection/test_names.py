"""Hostile values where names are made: of tables, datasets, objects, files, labels, runs."""

from __future__ import annotations

import re
import runpy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operators import BigQueryQuery

if TYPE_CHECKING:
    from tests.injection.conftest import Cloud, World

CORPUS = runpy.run_path(str(Path(__file__).with_name("corpus.py")))
VALUES: list[str] = [*CORPUS["VALUES"], *CORPUS["SURROGATES"]]
PRIVATE: str = CORPUS["PRIVATE"]

#: Values that are made for names: other folders, tables, partitions, patterns.
NAMES = [
    *("private", "*", "p*", "private$20220101", "canary$__NULL__", "../private/two", "%2e%2e/x", "./x", "/", "//x"),
    *("private.x", "shop.private", "other.shop", "`private`", "`canary", "private`", "pydag-local.shop.private"),
    *("{a,b}", "public/one.csv\n", "public/one\x00", "**/*", "?ne", "[o]ne", "one.csv#1", "#", "gs://private-bucket/x"),
    *("private-bucket/..", "landing/private", "private-bucket", "INFORMATION_SCHEMA", "__TABLES__", "_SESSION"),
]

#: Of the values that are names like any other, so many are tried in a run; those made for names come first.
MOST_RUNS = 5

PIPELINE = """
from pydag_gcp import DAG, GCSObject, Table
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

with DAG("names", params={"v": "plain"}) as dag:
    TASK
"""

TASKS = {
    "a table": (
        'BigQueryQuery(task_id="t", sql="SELECT 1 AS x", destination=Table("shop.{{ params.v }}"), write="WRITE_EMPTY")'
    ),
    "a part of a table's name": (
        'BigQueryQuery(task_id="t", sql="SELECT 1 AS x", destination=Table("shop.stg_{{ params.v }}"))'
    ),
    "a dataset": 'BigQueryQuery(task_id="t", sql="SELECT 1 AS x", destination=Table("{{ params.v }}.made"))',
    "a table that is read": (
        'BigQueryQuery(task_id="t", sql="SELECT * FROM {{ t }}", params={"t": Table("shop.{{ params.v }}_x")}, '
        'destination=Table("shop.made"))'
    ),
    "the default dataset": (
        'BigQueryQuery(task_id="t", sql="CREATE OR REPLACE TABLE made AS SELECT 1 AS x", dataset="{{ params.v }}")'
    ),
    "an object": (
        'GCSToBigQuery(task_id="t", source="gs://landing/public/{{ params.v }}.csv", destination=Table("shop.made"))'
    ),
    "a folder": (
        'GCSToBigQuery(task_id="t", source="gs://landing/{{ params.v }}/one.csv", destination=Table("shop.made"))'
    ),
    "an SQL file": 'BigQueryQuery(task_id="t", sql="{{params.v}}.sql")',
    "an SQL file in a folder": 'BigQueryQuery(task_id="t", sql="queries/{{params.v}}.sql")',
    "a label": 'BigQueryQuery(task_id="t", sql="SELECT 1 AS x", labels={"team": "{{ params.v }}"})',
}


def made_by(before: World, after: World) -> dict[str, str]:
    """What is there now that was not, or is not as it was."""
    assert before.keys() <= after.keys()
    return {name: str(rows) for name, rows in after.items() if before.get(name) != rows}


@pytest.mark.parametrize("where", TASKS)
def test_a_value_in_a_name_makes_no_other_name_of_it(cloud: Cloud, where: str) -> None:
    # Given a task in which a value is a part of a name
    Path("pipeline.py").write_text(PIPELINE.replace("TASK", TASKS[where]))
    Path("queries").mkdir()
    (Path.cwd().parent / "outside.sql").write_text("DROP TABLE shop.canary")
    before = cloud.world()

    accepted = []
    for value in [*NAMES, *VALUES[::2]]:
        # When it is tried with a hostile value, it is refused in one line
        ended = cloud.pydag("validate", "pipeline.py", "--param", f"v={value}")
        assert ended.code == 0 or ended.refused, (value, ended)
        if ended.code == 0:
            accepted.append(value)

    # Or it is a name like any other, and only that one is written
    for value in accepted[:MOST_RUNS]:
        ended = cloud.run(v=value)
        assert ended.code in {0, 1} or ended.refused, (value, ended)
        assert PRIVATE not in ended.out + ended.err
    for name, rows in made_by(before, cloud.world()).items():
        assert name.startswith("shop.") or name.endswith(".made"), name
        assert PRIVATE not in rows, name
        if name not in before:
            cloud.bigquery.delete_table(name, not_found_ok=True)


def test_ids_are_plain_words() -> None:
    for value in [*VALUES, *NAMES]:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", value):
            continue
        for make in (partial(DAG, value), partial(BigQueryQuery, task_id=value, sql="SELECT 1")):
            with pytest.raises(DefinitionError) as refused:
                make()
            assert len(str(refused.value).splitlines()) == 1, value


@pytest.mark.parametrize(
    "value", ["2022-01-01'; DROP TABLE shop.canary; --", "{{ 7*7 }}", "../x", "2022-01-01\n", "\x00"]
)
def test_a_logical_date_is_a_date(cloud: Cloud, value: str) -> None:
    Path("pipeline.py").write_text(PIPELINE.replace("TASK", TASKS["a label"]))
    ended = cloud.pydag("run", "pipeline.py", "--logical-date", value)
    assert ended.refused, ended
    assert "expected a date" in ended.err
