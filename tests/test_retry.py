"""Retry policies and the table of transient errors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
import requests
import urllib3
from google.api_core import exceptions as api
from google.auth.exceptions import RefreshError, TransportError
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import DefinitionError, TaskError, TaskTimeout
from pydag_gcp.retry import NO_RETRY, Retry, is_transient, is_transient_reason


def _grpc(error: type[api.GoogleAPICallError], name: str) -> api.GoogleAPICallError:
    made = error("said the service")
    made.grpc_status_code = grpc.StatusCode[name]
    return made


TRANSIENT: list[BaseException] = [
    api.ServiceUnavailable("503"),
    api.TooManyRequests("429"),
    api.InternalServerError("500"),
    api.BadGateway("502"),
    api.GatewayTimeout("504"),
    api.from_http_status(408, "request timeout"),
    api.Forbidden("403", errors=[{"reason": "rateLimitExceeded"}]),
    api.BadRequest("400", errors=[{"reason": "backendError"}]),
    _grpc(api.ServiceUnavailable, "UNAVAILABLE"),
    _grpc(api.DeadlineExceeded, "DEADLINE_EXCEEDED"),
    _grpc(api.ResourceExhausted, "RESOURCE_EXHAUSTED"),
    api.RetryError("gave up", cause=api.ServiceUnavailable("503")),
    requests.ConnectionError("reset"),
    requests.Timeout("slow"),
    requests.exceptions.ChunkedEncodingError("cut"),
    urllib3.exceptions.ProtocolError("aborted"),
    ConnectionResetError("reset"),
    ConnectionRefusedError("refused"),
    BrokenPipeError("pipe"),
    TimeoutError("slow"),
    TransportError("no network"),
    RefreshError("token endpoint answers 503", retryable=True),
    api.RetryError("gave up", cause=RefreshError("503", retryable=True)),
    requests.exceptions.JSONDecodeError("cut off", "{", 1),
    _grpc(api.Cancelled, "CANCELLED"),
    _grpc(api.DataLoss, "DATA_LOSS"),
    TaskError("agent lost", transient=True),
    TaskTimeout("timed out", transient=True),
]
LASTING: list[BaseException] = [
    api.BadRequest("400"),
    api.Forbidden("403", errors=[{"reason": "accessDenied"}]),
    api.NotFound("404"),
    api.Conflict("409"),
    _grpc(api.InvalidArgument, "INVALID_ARGUMENT"),
    _grpc(api.PermissionDenied, "PERMISSION_DENIED"),
    RefreshError("revoked"),
    ValueError("wrong"),
    TaskError("row 7 is malformed"),
    FileNotFoundError("gone"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_what_may_pass_is_transient(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_what_will_not_pass_is_not(error: BaseException) -> None:
    assert not is_transient(error)


def test_reasons_of_jobs() -> None:
    assert is_transient_reason("backendError")
    assert is_transient_reason("rateLimitExceeded")
    assert not is_transient_reason("invalidQuery")
    assert not is_transient_reason(None)


def test_waits_double_up_to_the_longest() -> None:
    policy = Retry(attempts=9, wait=2, max_wait=10, jitter=0)
    assert [policy.delay(failed) for failed in (1, 2, 3, 4, 5)] == [2, 4, 8, 10, 10]


@given(st.integers(1, 500), st.floats(0, 100), st.floats(0, 100), st.floats(0, 5))
def test_waits_stay_in_their_bounds(failed: int, wait: float, max_wait: float, jitter: float) -> None:
    delay = Retry(attempts=1000, wait=wait, max_wait=max_wait, jitter=jitter).delay(failed)
    assert 0 <= delay <= max_wait + jitter


def test_durations_may_be_timedeltas() -> None:
    assert Retry(wait=timedelta(minutes=1)).wait == 60


@pytest.mark.parametrize(
    "fields", [{"attempts": 0}, {"attempts": -1}, {"wait": -1}, {"max_wait": float("inf")}, {"tries": 3}]
)
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"^Retry: field '\w+': "):
        Retry(**fields)


def test_by_default_remote_work_is_tried_again_for_transient_errors_and_local_work_for_any() -> None:
    policy = Retry()
    assert not policy.wants(ValueError("x"), transient_only=True)
    assert policy.wants(ValueError("x"), transient_only=False)
    assert policy.wants(ConnectionResetError("x"), transient_only=True)
    assert not policy.wants(KeyboardInterrupt(), transient_only=False)


def test_an_author_may_say_which_errors() -> None:
    policy = Retry(on=(KeyError,))
    assert policy.wants(KeyError("x"), transient_only=True)
    assert not policy.wants(ConnectionResetError("x"), transient_only=True)


def test_a_task_tries_once_unless_told() -> None:
    assert NO_RETRY.attempts == 1
