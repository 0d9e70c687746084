"""Jobs take effect once: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/insert."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.operator import Context, Done, Failed, Running
from pydag_gcp.operators import GCSToBigQuery
from pydag_gcp.retry import is_transient

if TYPE_CHECKING:
    from tests.operators.conftest import HttpService

INSERT = ("POST", "/bigquery/v2/projects/acme-1/jobs")


def load(**fields: Any) -> GCSToBigQuery:
    return GCSToBigQuery(**{"task_id": "t", "source": "gs://bucket/a.csv", "destination": "d.t", **fields})


def test_a_submit_is_exactly_one_request(ctx: Context, http: HttpService) -> None:
    handle = load().submit(ctx, "pydag-1")

    assert [(r.method, r.path) for r in http.requests] == [INSERT]
    assert handle == {"project": "acme-1", "location": "US", "job_id": "pydag-1"}


def test_the_request_carries_the_id_the_location_and_the_labels(ctx: Context, http: HttpService) -> None:
    load(labels={"team": "sales"}).submit(ctx, "pydag-1")

    sent = http.requests[0].json
    assert sent["jobReference"] == {"projectId": "acme-1", "location": "US", "jobId": "pydag-1"}
    labels = sent["configuration"]["labels"]
    assert len(labels.pop("pydag-request")) == 40
    assert labels == {"team": "sales", "pydag-dag": "daily-sales", "pydag-run": "r1", "pydag-task": "t"}


@pytest.mark.parametrize(("fault", "message"), [("503", "try again"), ("lost", "without response")])
def test_a_request_that_was_accepted_without_saying_so_leaves_one_job(
    ctx: Context, http: HttpService, fault: str, message: str
) -> None:
    http.faults = [fault]
    with pytest.raises(Exception, match=message) as caught:
        load().submit(ctx, "pydag-1")
    assert is_transient(caught.value)
    assert http.sent(*INSERT) == http.requests[:1]

    handle = load().submit(ctx, "pydag-1")

    assert handle["job_id"] == "pydag-1"
    assert len(http.jobs) == 1


def test_a_request_that_was_not_accepted_is_not_looked_for(ctx: Context, http: HttpService) -> None:
    http.faults = ["refused-503"]
    with pytest.raises(Exception, match="try again") as caught:
        load().submit(ctx, "pydag-1")

    assert is_transient(caught.value)
    assert len(http.requests) == 1


def test_a_job_of_another_request_is_refused_by_name(ctx: Context, http: HttpService) -> None:
    load(destination="d.other").submit(ctx, "pydag-1")

    with pytest.raises(TaskError, match="'pydag-1' exists already, but another request made it") as caught:
        load().submit(ctx, "pydag-1")

    assert not is_transient(caught.value)


def test_other_labels_and_another_run_are_the_same_request(ctx: Context, http: HttpService) -> None:
    load(labels={"a": "b"}).submit(ctx, "pydag-1")
    load(labels={"a": "c"}).submit(ctx, "pydag-1")

    assert len(http.jobs) == 1


def test_a_job_that_exists_but_is_not_shown_yet_is_asked_for_again(ctx: Context, http: HttpService) -> None:
    """https://github.com/googleapis/python-bigquery/issues/2134: a 404 right after a 409."""
    load().submit(ctx, "pydag-1")
    http.hidden = 1

    with pytest.raises(TaskError, match="does not show it yet") as caught:
        load().submit(ctx, "pydag-1")

    assert is_transient(caught.value)
    assert load().submit(ctx, "pydag-1")["job_id"] == "pydag-1"


def test_a_conflict_over_a_table_is_a_refusal_where_there_is_no_job(ctx: Context, http: HttpService) -> None:
    message = "Already Exists: Table acme-1:d.t"
    http.refusals[" ".join(INSERT)] = (409, {"error": {"code": 409, "message": message}})

    with pytest.raises(TaskError, match=message) as caught:
        load().submit(ctx, "pydag-1")

    assert not is_transient(caught.value)
    assert http.jobs == {}


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "invalid", "BigQuery load job 'pydag-1' was refused: said the service"),
        (403, "accessDenied", "was refused: said the service; grant the account"),
        (404, "notFound", "was refused: said the service"),
    ],
)
def test_a_definite_refusal_is_one_clear_line(
    ctx: Context, http: HttpService, status: int, reason: str, expected: str
) -> None:
    errors = [{"reason": reason, "message": "said\n the service"}]
    http.refusals[" ".join(INSERT)] = (status, {"error": {"code": status, "message": "x", "errors": errors}})

    with pytest.raises(TaskError, match=expected) as caught:
        load().submit(ctx, "pydag-1")

    assert not is_transient(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rate_limit_is_transient_although_it_is_a_403(ctx: Context, http: HttpService) -> None:
    errors = [{"reason": "rateLimitExceeded", "message": "slow down"}]
    http.refusals[" ".join(INSERT)] = (403, {"error": {"code": 403, "message": "slow down", "errors": errors}})

    with pytest.raises(Exception, match="slow down") as caught:
        load().submit(ctx, "pydag-1")

    assert is_transient(caught.value)


def test_a_job_is_polled_until_it_is_done(ctx: Context, http: HttpService) -> None:
    task = load()
    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Running(detail="BigQuery job RUNNING")
    http.end("pydag-1")
    assert task.poll(ctx, handle) == Done()
    assert http.requests[-1].query["location"] == ["US"]


def test_a_failure_names_reason_file_row_and_job(ctx: Context, http: HttpService) -> None:
    task = load()
    handle = task.submit(ctx, "pydag-1")
    first = {
        "reason": "invalid",
        "location": "gs://bucket/a.csv",
        "message": "Error while reading data, error message: CSV table encountered too many errors, giving up.",
    }
    row = {"reason": "invalid", "location": "gs://bucket/a.csv", "message": "Could not parse 'x' as INT64\nfor field a"}
    http.end("pydag-1", error={"errors": [first, first, row]})

    status = task.poll(ctx, handle)

    assert status == Failed(
        reason="BigQuery load job 'pydag-1' failed: "
        "gs://bucket/a.csv: Could not parse 'x' as INT64 for field a (invalid)",
        transient=False,
    )


def test_without_errors_of_rows_the_first_error_is_told(ctx: Context, http: HttpService) -> None:
    task = load()
    handle = task.submit(ctx, "pydag-1")
    http.end("pydag-1", error={"reason": "invalid", "message": "Too many errors, giving up."})

    assert task.poll(ctx, handle) == Failed(
        reason="BigQuery load job 'pydag-1' failed: Too many errors, giving up. (invalid)"
    )


@pytest.mark.parametrize(
    ("reason", "transient"), [("backendError", True), ("quotaExceeded", False), ("stopped", False)]
)
def test_only_some_reasons_are_worth_another_try(ctx: Context, http: HttpService, reason: str, transient: bool) -> None:
    """https://cloud.google.com/bigquery/docs/error-messages."""
    task = load()
    handle = task.submit(ctx, "pydag-1")
    http.end("pydag-1", error={"reason": reason, "message": "m"})

    status = task.poll(ctx, handle)

    assert isinstance(status, Failed)
    assert status.transient is transient


def test_a_table_that_is_not_empty_says_how_to_replace_it(ctx: Context, http: HttpService) -> None:
    task = load(write="WRITE_EMPTY")
    handle = task.submit(ctx, "pydag-1")
    http.end("pydag-1", error={"reason": "duplicate", "message": "Already Exists: Table acme-1:d.t"})

    status = task.poll(ctx, handle)

    assert isinstance(status, Failed)
    assert "write='WRITE_TRUNCATE' replaces" in status.reason


def test_a_cancelled_job_ends_as_failed(ctx: Context, http: HttpService) -> None:
    task = load()
    handle = task.submit(ctx, "pydag-1")

    task.cancel(ctx, handle)

    status = task.poll(ctx, handle)
    assert isinstance(status, Failed)
    assert "cancelled" in status.reason


def test_a_job_that_is_gone_is_an_error_and_not_a_success(ctx: Context, http: HttpService) -> None:
    task = load()
    handle = task.submit(ctx, "pydag-1")
    http.jobs.clear()

    with pytest.raises(TaskError, match="'pydag-1' cannot be looked at: Not found"):
        task.poll(ctx, handle)


def test_config_is_merged_over_what_is_sent(ctx: Context, http: HttpService) -> None:
    config = {"load": {"encoding": "ISO-8859-1", "ignoreUnknownValues": True}, "jobTimeoutMs": "1000"}

    load(config=config).submit(ctx, "pydag-1")

    sent = http.requests[0].json["configuration"]
    assert sent["jobTimeoutMs"] == "1000"
    assert sent["load"]["encoding"] == "ISO-8859-1"
    assert sent["load"]["ignoreUnknownValues"] is True
    assert sent["load"]["sourceUris"] == ["gs://bucket/a.csv"]


def test_labels_in_config_do_not_change_the_request(ctx: Context, http: HttpService) -> None:
    load(config={"labels": {"x": "y"}}).submit(ctx, "pydag-1")
    load().submit(ctx, "pydag-1")

    assert http.jobs["pydag-1"]["configuration"]["labels"]["x"] == "y"


@pytest.mark.parametrize("config", [{"encoding": "UTF-8"}, {"dryRun": True}, {"query": {}}])
def test_a_setting_that_would_be_ignored_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=f"no setting {next(iter(config))!r} of a load job"):
        load(config=config)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"pydag-run": "x"}, "begin with 'pydag-' are ours"),
        ({"Team": "x"}, "a name is a lower-case letter"),
        ({"team": "A b"}, "a value has at most 63"),
    ],
)
def test_labels_are_checked_at_construction(labels: dict[str, str], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        load(labels=labels)


# many jobs, looked at together ----------------------------------------------------------------------------------------

LIST = ("GET", "/bigquery/v2/projects/acme-1/jobs")
SINCE = datetime(2026, 1, 2, 12, tzinfo=UTC)


def listed(ctx: Context, *job_ids: str, location: str = "US") -> Mapping[str, Running]:
    handle = {"project": "acme-1", "location": location, "job_id": job_ids[0]}
    return load().listed(ctx, handle, frozenset(job_ids), SINCE)


def test_jobs_are_listed_together_if_they_share_project_and_location() -> None:
    handle = {"project": "acme-1", "location": "US", "job_id": "pydag-1"}
    assert load().listing(handle) == load(task_id="u").listing({**handle, "job_id": "pydag-2"})
    assert load().listing(handle) != load().listing({**handle, "location": "EU"})


def test_a_list_shows_the_jobs_that_go_on_over_all_its_pages(ctx: Context, http: HttpService) -> None:
    # Given jobs of which some run, one is pending and one is over
    for number in range(5):
        load().submit(ctx, f"pydag-{number}")
    http.jobs["pydag-1"]["status"] = {"state": "PENDING"}
    http.end("pydag-2")
    # When some of them are listed
    found = listed(ctx, "pydag-0", "pydag-1", "pydag-2", "pydag-3")
    # Then those of them are there that are not over
    running, pending = Running(detail="BigQuery job RUNNING"), Running(detail="BigQuery job PENDING")
    assert found == {"pydag-3": running, "pydag-1": pending, "pydag-0": running}
    # And pending ones were asked for first, from an hour before, by pages
    lists = http.sent(*LIST)
    assert [request.query["stateFilter"] for request in lists] == [["pending"], *[["running"]] * 3]
    assert {request.query["maxResults"][0] for request in lists} == {"1000"}
    hour_before = int((SINCE.timestamp() - 3600) * 1000)
    assert {int(request.query["minCreationTime"][0]) for request in lists} == {hour_before}
    assert "allUsers" not in lists[0].query


def test_a_list_is_read_no_further_than_all_are_seen(ctx: Context, http: HttpService) -> None:
    for number in range(5):
        load().submit(ctx, f"pydag-{number}")
    assert listed(ctx, "pydag-4").keys() == {"pydag-4"}
    assert len(http.sent(*LIST)) == 2


def test_a_job_of_the_same_id_elsewhere_is_another(ctx: Context, http: HttpService) -> None:
    load().submit(ctx, "pydag-1")
    assert listed(ctx, "pydag-1", location="EU") == {}
    assert listed(ctx, "pydag-1", location="us").keys() == {"pydag-1"}


@pytest.mark.parametrize(("status", "reason", "transient"), [(403, "accessDenied", False), (429, "x", True)])
def test_a_list_may_be_refused(ctx: Context, http: HttpService, status: int, reason: str, transient: bool) -> None:
    errors = [{"reason": reason, "message": "not now, or never"}]
    http.refusals["GET .*/jobs"] = (
        status,
        {"error": {"code": status, "message": errors[0]["message"], "errors": errors}},
    )
    with pytest.raises(Exception, match="not now, or never") as caught:
        listed(ctx, "pydag-1")
    assert is_transient(caught.value) is transient
    if not transient:
        assert "BigQuery jobs of project 'acme-1' cannot be listed: not now, or never" in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "throttled"), [("rateLimitExceeded", True), ("jobRateLimitExceeded", True), ("quotaExceeded", False)]
)
def test_a_job_that_failed_for_its_rate_says_so(ctx: Context, http: HttpService, reason: str, throttled: bool) -> None:
    handle = load().submit(ctx, "pydag-1")
    http.end("pydag-1", error={"reason": reason, "message": "too much"})
    status = load().poll(ctx, handle)
    assert isinstance(status, Failed)
    assert status.throttled is throttled
