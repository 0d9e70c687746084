"""Merging, wording, and telling what is refused from what may pass."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.exceptions import RefreshError, TransportError
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import JobRefused, TaskError
from pydag_gcp.operators.submission import REQUEST_LABEL, merged, one_line, refusals, said, submit_once

_names = st.text("abc", min_size=1, max_size=2)
_leaves = st.none() | st.booleans() | st.integers() | st.lists(st.integers(), max_size=2)
_objects = st.dictionaries(
    _names, st.recursive(_leaves, lambda inner: st.dictionaries(_names, inner, max_size=3)), max_size=3
)


def leaves(content: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, (*path, name))
        elif not isinstance(value, dict):
            found[*path, name] = value
    return found


@given(_objects, _objects)
def test_what_the_author_says_is_what_is_sent(sent: dict[str, Any], config: dict[str, Any]) -> None:
    result = leaves(merged(sent, config))

    assert {path: result[path] for path in leaves(config)} == leaves(config)


@given(_objects, _objects)
def test_merging_changes_neither_side_and_merging_again_nothing(sent: dict[str, Any], config: dict[str, Any]) -> None:
    before = copy.deepcopy((sent, config))

    once = merged(sent, config)

    assert merged(once, config) == once
    assert merged(sent, {}) == sent
    assert (sent, config) == before


def test_what_the_author_does_not_name_stays() -> None:
    sent = {"a": {"b": 1, "c": [1, 2]}, "d": 1}

    assert merged(sent, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 1}


@given(st.text())
def test_an_error_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


def test_a_service_is_quoted_without_url_and_status() -> None:
    error = exceptions.Forbidden("GET https://host/path: no", errors=[{"message": "no\n access", "reason": "x"}])

    assert said(error) == "no access"
    assert said(exceptions.Forbidden("plain")) == "plain"


@pytest.mark.parametrize(
    "error", [exceptions.ServiceUnavailable("x"), exceptions.TooManyRequests("x"), TransportError("x")]
)
def test_a_transient_error_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, refusals("it was refused"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.BadRequest("bad"), "it was refused: bad"),
        (exceptions.Unauthorized("who?"), "it was refused: who?; run `gcloud auth application-default login`"),
        (RefreshError("expired"), "it was refused: expired; run `gcloud auth application-default login`"),
    ],
)
def test_a_definite_refusal_says_how_to_mend_it(error: Exception, expected: str) -> None:
    with pytest.raises(TaskError) as caught, refusals("it was refused"):
        raise error
    assert str(caught.value).startswith(expected)
    assert not caught.value.transient


# a taken id ----------------------------------------------------------------------------------------------------------

DATAPROC = "Already exists: Failed to submit job: Job projects/p/regions/r/jobs/pydag-1"
BIGQUERY = "Already Exists: Job p:US.pydag-1"
TABLE = "Already Exists: Table p:d.jobs"


def submit(message: str, found: str | None, kind: type[exceptions.Conflict] = exceptions.Conflict) -> SimpleNamespace:
    def create() -> SimpleNamespace:
        raise kind(message)

    def fetch() -> SimpleNamespace:
        if found is None:
            raise exceptions.NotFound("Not found: Job")
        return SimpleNamespace(labels={REQUEST_LABEL: found})

    return submit_once("job 'pydag-1'", "ours", {"job_id": "pydag-1"}, create=create, fetch=fetch)


@pytest.mark.parametrize("message", [DATAPROC, BIGQUERY, TABLE, "Requested entity already exists", "duplicate"])
@pytest.mark.parametrize("kind", [exceptions.Conflict, exceptions.AlreadyExists])
def test_whatever_a_conflict_says_a_job_of_ours_is_attached_to(message: str, kind: type[exceptions.Conflict]) -> None:
    assert submit(message, "ours", kind).labels == {REQUEST_LABEL: "ours"}


@pytest.mark.parametrize("message", [DATAPROC, BIGQUERY])
def test_a_taken_id_of_another_request_is_refused(message: str) -> None:
    with pytest.raises(TaskError, match="job 'pydag-1' exists already, but another request made it"):
        submit(message, "theirs")


@pytest.mark.parametrize("message", [DATAPROC, BIGQUERY, "Requested entity already exists", "duplicate"])
def test_a_taken_id_that_is_not_shown_yet_is_asked_for_again(message: str) -> None:
    with pytest.raises(TaskError, match="does not show it yet") as caught:
        submit(message, None)
    assert caught.value.transient


@pytest.mark.parametrize("message", [TABLE, "Already Exists: Dataset p:d"])
def test_a_conflict_about_something_else_is_a_refusal(message: str) -> None:
    with pytest.raises(TaskError, match=f"job 'pydag-1' was refused: {message}") as caught:
        submit(message, None)
    assert not caught.value.transient


# a refusal after an earlier sending ----------------------------------------------------------------------------------


def resend(refusal: Exception, there: SimpleNamespace | Exception) -> SimpleNamespace:
    """Send a request that is refused, where an earlier sending may have left a job."""

    def create() -> SimpleNamespace:
        raise refusal

    def fetch() -> SimpleNamespace:
        if isinstance(there, Exception):
            raise there
        return there

    return submit_once("job 'pydag-1'", "ours", {"job_id": "pydag-1"}, create=create, fetch=fetch)


REFUSALS = [
    exceptions.Forbidden("no more"),
    exceptions.BadRequest("no such column"),
    exceptions.NotFound("no such table"),
    TaskError("there is no cluster", hint="create it"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_does_not_hide_a_job_that_was_accepted_before(refusal: Exception) -> None:
    ours = SimpleNamespace(labels={REQUEST_LABEL: "ours"})
    assert resend(refusal, ours) is ours


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_where_there_is_no_job_says_both(refusal: Exception) -> None:
    with pytest.raises(JobRefused) as caught:
        resend(refusal, exceptions.NotFound("no job"))
    assert not caught.value.transient
    told = "there is no cluster; create it" if isinstance(refusal, TaskError) else "job 'pydag-1' was refused: no"
    assert str(caught.value).startswith(told)


def test_a_refusal_by_who_does_not_show_jobs_either_says_nothing_of_them() -> None:
    with pytest.raises(TaskError, match="job 'pydag-1' was refused: no more; grant the account") as caught:
        resend(exceptions.Forbidden("no more"), exceptions.Forbidden("you may not look"))
    assert not isinstance(caught.value, JobRefused)


def test_what_goes_unanswered_after_a_refusal_is_asked_again() -> None:
    with pytest.raises(exceptions.ServiceUnavailable):
        resend(exceptions.Forbidden("no more"), exceptions.ServiceUnavailable("503"))
