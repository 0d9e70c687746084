"""Operators: fields, errors, ids, labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from pydag_gcp.errors import DefinitionError
from pydag_gcp.identity import label_value, remote_id, request_label
from pydag_gcp.operator import Context, Operator, RemoteOperator, Status
from pydag_gcp.operators import BigQueryCopy, BigQueryQuery, DataprocDeleteCluster
from pydag_gcp.states import TriggerRule


class Copy(Operator):
    source_uri: str
    times: int = Field(default=1, ge=1)

    def execute(self, ctx: Context) -> Any:
        return None


class Job(RemoteOperator):
    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        return {}

    def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
        raise NotImplementedError

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        return None

    def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
        return None


@pytest.mark.parametrize(
    ("kind", "service"),
    [(Job, "job"), (BigQueryQuery, "bigquery"), (BigQueryCopy, "bigquery"), (DataprocDeleteCluster, "dataproc")],
)
def test_remote_work_has_a_service(kind: type[RemoteOperator], service: str) -> None:
    assert kind.service == service


def test_the_service_of_a_class_is_that_of_its_base_or_its_own_name() -> None:
    class Sync(Job):
        pass

    class Other(Job):
        service = "mine"

    class HTTPSyncJob2Run(RemoteOperator):
        pass

    assert (Sync.service, Other.service, HTTPSyncJob2Run.service) == ("job", "mine", "http_sync_job2_run")


def test_which_fields_were_given_is_kept_once_and_no_copy_changes_it() -> None:
    first, second = (Copy(task_id=name, source_uri="x") for name in ("a", "b"))
    third = Copy(task_id="c", source_uri="x", times=2)
    changed = first.model_copy(update={"times": 3})

    assert first.model_fields_set is second.model_fields_set
    assert second.model_fields_set == {"task_id", "source_uri"}
    assert third.model_fields_set == changed.model_fields_set == {"task_id", "source_uri", "times"}


WRONG = [
    (
        {"source_uri": "a", "times": "many"},
        r"task 'copy': field 'times': input should be a valid integer.*, got 'many'",
    ),
    ({"source_uri": "a", "times": 0}, r"field 'times': input should be greater than or equal to 1, got 0"),
    ({}, r"task 'copy': field 'source_uri': is required"),
    ({"source_uri": "a", "tims": 2}, r"field 'tims': no such field; did you mean 'times'\?"),
    ({"source_uri": "a", "zzz": 2}, r"field 'zzz': no such field; known: .*source_uri, times"),
    ({"source_uri": "a", "trigger_rule": "all_good"}, r"field 'trigger_rule': .*'all_success'.*, got 'all_good'"),
    ({"source_uri": "a", "timeout": -1}, r"field 'timeout': input should be greater than 0"),
    ({"source_uri": "a", "slots": 0}, r"field 'slots'"),
    ({"source_uri": "a", "retry": {"attempts": -1}}, r"field 'retry.attempts': .*greater than or equal to 1, got -1"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_a_wrong_field_is_named_with_its_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=r"test_operator.py:\d+: ") as caught:
        Copy(task_id="copy", **fields)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task_id", ["", "a b", "../etc", "a.b", "a/b", "1st", "x" * 201, 7])
def test_a_task_id_that_is_no_file_name_is_refused(task_id: Any) -> None:
    with pytest.raises(DefinitionError, match="field 'task_id'"):
        Copy(task_id=task_id, source_uri="a")


def test_tasks_are_frozen_and_compared_by_identity() -> None:
    one, same = Copy(task_id="copy", source_uri="a"), Copy(task_id="copy", source_uri="a")
    assert one != same
    assert len({one, same}) == 2
    with pytest.raises(ValidationError, match="frozen"):
        one.times = 2  # type: ignore[misc]


def test_fields_accept_what_yaml_can_say() -> None:
    task = Copy(task_id="copy", source_uri="a", timeout=90, trigger_rule="all_done")
    assert task.timeout == timedelta(seconds=90)
    assert task.trigger_rule is TriggerRule.ALL_DONE


def test_remote_work_is_not_executed(ctx: Context) -> None:
    with pytest.raises(TypeError, match="Job is remote: it is submitted and polled"):
        Job(task_id="job").execute(ctx)


@given(st.text(), st.text(), st.integers(1, 1000))
def test_a_remote_id_fits_the_limits_of_every_service(run_id: str, task_id: str, number: int) -> None:
    # BigQuery: [A-Za-z0-9_-]{1,1024}; Dataproc: [A-Za-z0-9_-]{4,100}; request_id: at most 40
    made = remote_id(run_id, task_id, number)
    assert re.fullmatch(r"pydag-[0-9a-f]{32}", made)
    assert made == remote_id(run_id, task_id, number)
    assert made != remote_id(run_id, task_id, number + 1)


def test_remote_ids_do_not_confuse_neighbours() -> None:
    assert remote_id("ab", "c", 1) != remote_id("a", "bc", 1)


@given(st.text())
def test_a_label_value_is_always_legal(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{0,63}", label_value(text))


def test_a_request_label_is_stable_under_the_order_of_fields_and_changes_with_them() -> None:
    assert request_label({"a": 1, "b": [2]}) == request_label({"b": [2], "a": 1})
    assert request_label({"a": 1}) != request_label({"a": 2})
    assert re.fullmatch(r"[0-9a-f]{40}", request_label({}))


def test_the_labels_of_a_task(ctx: Context) -> None:
    assert ctx.labels == {"pydag-dag": "a_dag", "pydag-task": "a_task", "pydag-run": "run1"}
