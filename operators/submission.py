"""Sending a request to the cloud once, and recognising a job that it started before.

A submit whose answer was lost is sent again under the same id; the service then says that the id is taken. Whether the
job that has it is ours is told by its ``pydag-request`` label, the hash of the request.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from pydag_gcp.errors import JobRefused, JobTaken, TaskError
from pydag_gcp.operator import Json
from pydag_gcp.retry import is_transient

if TYPE_CHECKING:
    from google.api_core.exceptions import Conflict, GoogleAPICallError

#: The label that holds the hash of the request that made a job or a cluster.
REQUEST_LABEL: Final = "pydag-request"

# Of jobs, BigQuery says "Already Exists: Job p:US.id", Dataproc "Already exists: Failed to submit job: Job projects/"
_ABOUT_ANOTHER_THING = re.compile(r"already exists: (?!.*\bjobs?[ /:])\w+ \S", re.IGNORECASE)

_HINTS = {
    401: "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS",
    403: "grant the account that runs this the permission, or use another account",
}


class Labelled(Protocol):
    """What a job of any service has."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""


_Job = TypeVar("_Job", bound=Labelled)


def submit_once(
    what: str, label: str, handle: Mapping[str, Json], *, create: Callable[[], _Job], fetch: Callable[[], _Job]
) -> _Job:
    """Send a request once; if its id is taken, return the job that has it, provided that it is this very request's.

    Whatever is refused, and for whatever reason, the id is looked up first: a job of ours must not be left alone. What
    an earlier sending needed, such as a permission or a table, may be gone by now.

    Args:
        what: The job, to begin a sentence with: ``BigQuery job 'pydag-12ab'``.
        label: The hash of the request.
        handle: What the job that has the id is followed by.
        create: Sends the request, once.
        fetch: Gets the job that has the id.

    Raises:
        JobTaken: The id belongs to another request.
        JobRefused: The request was refused, and there is no job of this id.
        TaskError: The request was refused. Transient if the service says both that the id is taken and that it knows
            no such job: ask again.
        google.api_core.exceptions.GoogleAPICallError: A transient one, unchanged: the job may exist.
    """
    from google.api_core.exceptions import Aborted, Conflict, GoogleAPICallError

    with refusals(f"{what} was refused"):
        try:
            job = create()
        except Aborted:  # also an HTTP 409, but it speaks of a clash that passes
            raise
        except Conflict as taken:
            job = _holder(what, taken, fetch)
        except (GoogleAPICallError, TaskError) as refusal:
            if is_transient(refusal):
                raise
            job = _sent_before(what, refusal, fetch)
    found = job.labels.get(REQUEST_LABEL)
    if found != label:
        raise JobTaken(
            f"{what} exists already, but another request made it (its label {REQUEST_LABEL} is "
            f"{found!r}, expected {label!r})",
            handle=handle,
            hint="did the task change while its run was interrupted? start a new run",
        )
    return job


def _holder(what: str, taken: Conflict, fetch: Callable[[], _Job]) -> _Job:
    from google.api_core.exceptions import NotFound

    try:
        return fetch()
    except NotFound as error:
        if _ABOUT_ANOTHER_THING.search(said(taken)):
            raise JobRefused(f"{what} was refused: {said(taken)}") from taken
        # Seen for some seconds after the 409: https://github.com/googleapis/python-bigquery/issues/2134
        raise TaskError(f"{what} exists, but the service does not show it yet", transient=True) from error


def _sent_before(what: str, refusal: GoogleAPICallError | TaskError, fetch: Callable[[], _Job]) -> _Job:
    """The job of an earlier sending of a request that is refused now."""
    from google.api_core.exceptions import GoogleAPICallError, NotFound

    try:
        return fetch()
    except NotFound:
        if isinstance(refusal, TaskError):
            raise JobRefused(refusal.what, where=refusal.where, hint=refusal.hint) from refusal
        hint = _HINTS.get(refusal.code or 0)
        raise JobRefused(f"{what} was refused: {said(refusal)}", hint=hint) from refusal
    except GoogleAPICallError as error:
        raise error if is_transient(error) else refusal from error


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn a definite refusal into a :class:`TaskError` that begins with ``what``; pass transient errors on."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except GoogleAPICallError as error:
        if is_transient(error):
            raise
        raise TaskError(f"{what}: {said(error)}", hint=_HINTS.get(error.code or 0)) from error
    except GoogleAuthError as error:
        if is_transient(error):
            raise
        raise TaskError(f"{what}: {one_line(str(error))}", hint=_HINTS[401]) from error


def said(error: Exception) -> str:
    """What a service said, in one line, without the URL and the status around it."""
    for detail in getattr(error, "errors", None) or []:
        if isinstance(detail, Mapping) and detail.get("message"):
            return one_line(str(detail["message"]))
    return one_line(str(getattr(error, "message", None) or error))


def one_line(text: str) -> str:
    """Fold a text into one line."""
    return " ".join(text.split())


def merged(sent: Mapping[str, Json], config: Mapping[str, Json]) -> dict[str, Json]:
    """Lay ``config`` over what we send: objects are merged, at any depth; anything else replaces what was there."""
    result: dict[str, Json] = copy.deepcopy(dict(sent))
    for key, value in config.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def message_from(kind: Any, content: Mapping[str, Json], *, field: str) -> Any:
    """Make a message of Google's from JSON.

    Args:
        kind: The message's class, such as ``dataproc_v1.Cluster``.
        content: The JSON form of https://protobuf.dev/programming-guides/json, names with underscores.
        field: The author's field whose value may be wrong.

    Raises:
        ValueError: A name is unknown or a value has the wrong type.
    """
    import json

    from google.protobuf.json_format import ParseError

    try:
        return kind.from_json(json.dumps(content), ignore_unknown_fields=False)
    except (ParseError, TypeError) as error:
        raise ValueError(f"{field}: {one_line(str(error))}") from error
