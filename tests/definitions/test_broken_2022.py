"""Broken definitions of the 2022 pyDag: its scripts and params were executed then; now they are read, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.definitions.conftest import Refused

DEFINITION = (Path(__file__).parents[1] / "pydag2022" / "definition.json").read_text(encoding="utf-8")

CREATE = "gcs.project-pydag.iac_scripts.iac.dataproc_create_cluster"
FIRST = 'gcs.project-pydag.module_name.bq.create_table"'

CHANGED = {
    "a misspelt field": ('"dependencies": []', '"dependancies": []', r"18:9: .*'dependancies': no such field; did"),
    "a misspelt top-level field": ('"script_cache"', '"script_cash"', r"4:5: .*'script_cash'.*did you mean 'script_c"),
    "something beside the DAG": ('{\n  "dag"', '{\n  "more": 1,\n  "dag"', r"2:3: 'more' stands beside 'dag'"),
    "a dag id with a slash": ('"STAGING_TO_FACT_2022"', '"../etc"', r"3:15: .*'../etc'"),
    "a dag id that is a number": ('"STAGING_TO_FACT_2022"', "1", r"3:15: .*got 1"),
    "a bad cron": ('"schedule_interval": ""', '"schedule_interval": "sometimes"', r"6:26: .*'sometimes' is no cron"),
    "negative retries": ('"retries": 0', '"retries": -1', r"10:16: .*'retries'.*got -1"),
    "retries that are text": ('"retries": 0', '"retries": "0"', r"10:16: .*'retries'.*got '0'"),
    "no processors": ('"processors": 4', '"processors": 0', r"9:19: .*'processors'"),
    "an expiry without end": ("7200", "9" * 90, r"5:21: .*'expire_cache'.*less than or equal to"),
    "a negative expiry": ("7200", "-1", r"5:21: .*'expire_cache'"),
    "tasks in a mapping": ('"tasks": [\n', '"tasks": {}, "tags": [\n', r"'tags' is given twice"),
    "a duplicate task": ('"create_table_final"', '"startup_dataproc_1"', r"21:20: .*another task has this id, in line"),
    "a task id with a dot": ('"create_table_final"', '"a.b"', r"20:7: .*'a.b' does not fit"),
    "an unknown dependency": ('["extract_from_stg_1"', '["extract_from_stg_9"', r"no task 'extract_from_stg_9'; did"),
    "a dependency on itself": ('"dependencies": []', '"dependencies": ["startup_dataproc_1"]', r"startup_dataproc_1"),
    "a dependency that is a number": ('["extract_from_stg_1"', "[1", r"dependencies.*got 1"),
    "code to be downloaded": (CREATE, "gcs.project-pydag.iac_scripts.iac.os_system", r"16:.*os_system"),
    "another engine": ('module_name.bq.create_table"', 'module_name.sh.create_table"', r"22:.*no engine 'sh'"),
    "another storage": (FIRST, 's3.project-pydag.module_name.bq.create_table"', r"22:.*scripts lie in gcs, not 's3'"),
    "a script of too few parts": (FIRST, 'gcs.create_table"', r"22:.*expected gcs\.<bucket>"),
    "a script that leads upwards": (FIRST, 'gcs.project-pydag./../.bq.create_table"', r"22:"),
    "a script with a semicolon": (FIRST, 'gcs.project-pydag.module_name.bq.x;touch executed"', r"22:"),
    "a script that is a list": (f'"{FIRST}', "[]", r"22:.*'script'|22:.*script"),
    "params that are code": (
        "{'cluster_name':'cluster-dataproc-pydag-2022',", "__import__('os').system('touch executed') or {", r"17:"),
    "params that are a call": (
        "'cluster-dataproc-pydag-2022', 'project_name'", "open('executed', 'w'), 'project_name'", r"17:"),
    "params that are a list": ("{'cluster_name'", "['cluster_name'", r"17:"),
    "params that do not end": ("'**GCP_service-account':''}", "'**GCP_service-account':''", r"17:"),
    "deep params": ("{'cluster_name':", "{" * 50_000 + "'cluster_name':", r"17:"),
    "a cluster's name": ("'cluster-dataproc-pydag-2022'", "'NOT A NAME'", r"17:"),
    "a param that is missing": ("'cluster_name':'cluster-dataproc-pydag-2022', ", "", r"17:.*cluster_name"),
    "a comma at the end": ('"dependencies": []\n', '"dependencies": [],\n', r"a comma before }; remove it"),
}  # fmt: skip

WHOLE = {
    "no tasks": ({"dag": {"dag_id": "x", "tasks": []}}, r"'tasks'.*at least 1 item"),
    "no list of tasks": ({"dag": {"dag_id": "x"}}, r"'tasks': is required"),
    "nothing in the DAG": ({"dag": {}}, r"'dag_id': is required"),
    "tasks that are text": ({"dag": {"dag_id": "x", "tasks": ["a"]}}, r"field 'tasks': .*got 'a'"),
    "a cycle": (
        {
            "dag": {
                "dag_id": "x",
                "tasks": [
                    {"task_id": "a", "script": "gcs.bucket.f.bq.a", "params": "{}", "dependencies": ["b"]},
                    {"task_id": "b", "script": "gcs.bucket.f.bq.b", "params": "{}", "dependencies": ["a"]},
                ],
            }
        },
        r"has a cycle: ",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_mistake_is_one_line_with_its_place(case: str, refused: Refused) -> None:
    before, after, message = CHANGED[case]
    assert before in DEFINITION
    Path("old.json").write_text(DEFINITION.replace(before, after, 1))

    refused("old.json", message)


@pytest.mark.parametrize("case", WHOLE)
def test_a_document_that_is_no_pipeline(case: str, refused: Refused) -> None:
    document, message = WHOLE[case]
    Path("old.json").write_text(json.dumps(document, indent=2))

    refused("old.json", message, command="run")
