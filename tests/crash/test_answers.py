"""A submit whose answer is lost or refused, against the real client and the local cloud: one job and one effect."""

from __future__ import annotations

import pytest

from tests.crash.conftest import FACT, ROWS
from tests.crash.project import Project

TASKS = ["create", "fact", "insert_0", "insert_1", "load"]


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer", "503", "429", "reset"])
def test_every_submit_is_answered_badly_and_every_job_has_one_effect(small: Project, fault: str) -> None:
    # Given a service that answers each odd-numbered submit badly, having accepted it or not
    for call in (1, 3, 5, 7, 9):
        small.fault("bigquery.jobs.insert", fault, call=call)
    # When
    document = small.run("--no-cache")
    # Then each task took one try, there is one job of each, and every row is there once
    assert {task["tries"] for task in document["tasks"].values()} == {1}
    assert small.jobs(document["run_id"]) == [(task, "DONE", True) for task in TASKS]
    assert len(small.rows("appended")) == ROWS
    assert small.rows("fact") == FACT


@pytest.mark.parametrize("fault", ["503", "reset", "lost-answer"])
def test_polls_and_results_that_go_unanswered_are_asked_again(small: Project, fault: str) -> None:
    small.fault("bigquery.jobs.get", fault, times=3)
    small.fault("bigquery.jobs.getQueryResults", fault)
    document = small.run("--no-cache")
    assert {task["tries"] for task in document["tasks"].values()} == {1}
    assert small.rows("fact") == FACT
