"""When to try again, and which errors are worth it.

A policy is a value on the task (:class:`Retry`); which errors are transient is one table (:func:`is_transient`,
:func:`is_transient_reason`), with its sources.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from pydag_gcp.duration import Seconds
from pydag_gcp.errors import DefinitionError, TaskError, did_you_mean
from pydag_gcp.model import Model

if TYPE_CHECKING:
    import tenacity

# HTTP: https://cloud.google.com/storage/docs/retry-strategy and https://cloud.google.com/bigquery/docs/error-messages
_HTTP = frozenset({408, 429, 500, 502, 503, 504})
# gRPC: https://cloud.google.com/apis/design/errors#error_retries; ABORTED is a conflict that the service asks to repeat
# and CANCELLED and DATA_LOSS are what a proxy that resets the stream looks like.
_GRPC = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN",
                   "CANCELLED", "DATA_LOSS"})  # fmt: skip
# BigQuery's `reason`: https://cloud.google.com/bigquery/docs/error-messages
_REASONS = frozenset({"backendError", "internalError", "jobBackendError", "jobInternalError", "jobRateLimitExceeded",
                      "rateLimitExceeded", "tableUnavailable", "timeout"})  # fmt: skip
# What fewer jobs at once make less likely; a quota of the day (`quotaExceeded`) is none of these.
_RATE_REASONS = frozenset({"jobRateLimitExceeded", "rateLimitExceeded"})


def is_transient_reason(reason: str | None) -> bool:
    """Tell whether BigQuery's ``reason`` of an error, of a call or a job, is worth another attempt."""
    return reason in _REASONS


def is_rate_reason(reason: str | None) -> bool:
    """Tell whether BigQuery's ``reason`` of an error, of a call or a job, is that there was too much at once."""
    return reason in _RATE_REASONS


def _reasons(error: Any) -> list[str]:
    return [str(e.get("reason")) for e in getattr(error, "errors", None) or [] if isinstance(e, dict)]


def is_transient(error: BaseException) -> bool:
    """Tell whether an error of a client call may pass when the call is sent again.

    A transient error of a submit also means: the service may have accepted it.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests.exceptions import ChunkedEncodingError, ContentDecodingError, JSONDecodeError, Timeout
    from requests.exceptions import ConnectionError as RequestsConnectionError
    from urllib3.exceptions import ProtocolError

    if isinstance(error, TaskError):
        return error.transient
    if isinstance(error, RetryError) and error.cause is not None:
        return is_transient(error.cause)
    if isinstance(error, GoogleAPICallError):
        status = getattr(error.grpc_status_code, "name", None)
        if status is not None:
            return status in _GRPC
        return error.code in _HTTP or any(map(is_transient_reason, _reasons(error)))
    if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
        return bool(error.retryable)
    lost = (RequestsConnectionError, Timeout, ChunkedEncodingError, ProtocolError, TransportError, ConnectionError)
    garbled = (ContentDecodingError, JSONDecodeError)
    return isinstance(error, (*lost, *garbled, TimeoutError))


def is_rate_refusal(error: BaseException | None) -> bool:
    """Tell whether a client call was refused because there were too many: HTTP 429, gRPC RESOURCE_EXHAUSTED."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError

    if isinstance(error, RetryError):
        return is_rate_refusal(error.cause)
    if not isinstance(error, GoogleAPICallError):
        return False
    too_many = error.code == HTTPStatus.TOO_MANY_REQUESTS or any(map(is_rate_reason, _reasons(error)))
    return too_many and is_transient(error)


def _error(value: Any) -> Any:
    """Accept the name of an error: Python's own, or one of Google's clients, such as ServiceUnavailable."""
    if not isinstance(value, str):
        return value
    from google.api_core import exceptions

    for module in (builtins, exceptions):
        found = getattr(module, value, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    named = ((name, found) for module in (builtins, exceptions) for name, found in vars(module).items())
    known = [name for name, found in named if isinstance(found, type) and issubclass(found, Exception)]
    hint = did_you_mean(value, known) or "name one of Python's errors, or of google.api_core.exceptions"
    raise DefinitionError(f"no error {value!r} that can be tried again", hint=hint)


ErrorType = Annotated[type[BaseException], BeforeValidator(_error), WithJsonSchema({"type": "string"})]


def asking_again(revive: Callable[[], None]) -> tenacity.Retrying:
    """Make a call before a run up to four times, as long as its errors are transient; the last one is raised.

    The clients' own retries would go on for ten minutes.

    Args:
        revive: Called before every further call: the local cloud may have died since it was reached.
    """
    import tenacity

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_transient),
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_exponential(multiplier=0.2),
        before_sleep=lambda _: revive(),
        reraise=True,
    )


class Retry(Model):
    """A retry policy: exponential waits with jitter, on tenacity's strategies.

    ``Retry(attempts=3, wait=2)`` tries at most three times, about 2 s and 4 s apart.
    """

    attempts: int = Field(default=3, ge=1, le=1000, description="Tries in all, the first one counted")
    wait: Seconds = Field(default=1.0, description="Seconds before the second try; doubles with each further one")
    max_wait: Seconds = Field(default=60.0, description="Longest wait, in seconds")
    jitter: Seconds = Field(default=1.0, description="Up to so many random seconds are added to each wait")
    on: tuple[ErrorType, ...] | None = Field(
        default=None, description="Errors worth another try; default: transient ones for remote work, any for local"
    )

    def delay(self, failed: int) -> float:
        """Seconds to wait after the ``failed``-th try."""
        import tenacity

        state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
        state.attempt_number = failed
        strategy = tenacity.wait_exponential(multiplier=self.wait, max=self.max_wait) + tenacity.wait_random(
            0, self.jitter
        )
        return float(strategy(state))

    def wants(self, error: BaseException, *, transient_only: bool) -> bool:
        """Tell whether ``error`` is worth another try."""
        if self.on is not None:
            return isinstance(error, self.on)
        return is_transient(error) if transient_only else isinstance(error, Exception)


#: A task tries once unless it or its DAG says otherwise.
NO_RETRY = Retry(attempts=1)

#: How calls to the cloud are sent again, by timer, under the same id: these are no new tries.
RESEND = Retry(attempts=1000, wait=0.2, max_wait=20, jitter=0.2)
#: Seconds for which a submit is sent again before the run is left, the job's fate unknown; and for which the cloud is
#: asked for the result of what succeeded, and for what that has left there.
RESEND_LIMIT = 600.0
