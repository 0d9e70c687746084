"""HTTP as Google's JSON APIs speak it: methods behind routes, errors in Google's shape, faults on request.

An :class:`Api` knows routes and nothing of sockets; :class:`~pydag_gcp.local.admin.Service` is an API with its faults,
and what :class:`~pydag_gcp.local.serving.HttpServer` serves.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import logging
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn
from urllib.parse import unquote, urlsplit

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wrappers import Request, Response

from pydag_gcp.local.faults import PENDING, Arrival, Faults
from pydag_gcp.local.subjects import AUTHORIZATION_OF_JOBS, Subject, of_answer, of_request

TYPE_OF_JSON = "application/json; charset=UTF-8"

#: Methods that only the body tells about what they are.
_TOLD_BY_BODY = frozenset({"bigquery.datasets.insert", "bigquery.jobs.insert", "bigquery.tables.insert"})

#: Where a request carries the faults, for a handler that answers requests within a request.
FAULTS = "pydag.faults"
#: Where it carries for how many seconds the job that it makes is to stay pending.
_PENDING = "pydag.pending"

Handler = Callable[..., Mapping[str, Any] | Response | None]

_log = logging.getLogger(__name__)

#: The canonical names of https://cloud.google.com/apis/design/errors#handling_errors.
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}

#: What a full or unwritable disk looks like; no client retries a 507, and none should.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EMFILE}


class ApiError(Exception):
    """An error in the shape that Google's JSON APIs answer.

    Contract: https://cloud.google.com/storage/docs/json_api/v1/status-codes and
    https://cloud.google.com/bigquery/docs/error-messages

    Args:
        status: The HTTP status.
        reason: Google's word for it, such as ``notFound``.
        message: The sentence that the user sees.
        location: The parameter, header or place that is to blame.
        location_type: What kind of place that is.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        location: str | None = None,
        location_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.location = location
        self.location_type = location_type

    def to_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        detail = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location is not None:
            detail["location"] = self.location
        if self.location_type is not None:
            detail["locationType"] = self.location_type
        error: dict[str, Any] = {"code": self.status, "message": self.message, "errors": [detail]}
        if self.status in _STATUS_NAMES:
            error["status"] = _STATUS_NAMES[self.status]
        return {"error": error}

    def response(self) -> Response:
        """Return the whole answer."""
        return json_response(self.to_json(), status=self.status)


class ConnectionDropped(Exception):
    """The answer is to be no answer.

    Args:
        reset: Whether the client is to see a reset rather than an orderly end.
    """

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "closed")
        self.reset = reset


def not_implemented(what: str) -> ApiError:
    """Return the error that refuses by name what the local cloud does not do exactly."""
    return ApiError(501, "notImplemented", f"The local cloud does not implement {what}.")


def json_response(body: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return an answer that carries JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status=status, content_type=TYPE_OF_JSON)


def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that the request carries; an empty body is an empty object.

    Raises:
        ApiError: 400 ``parseError``: it is not JSON, or not an object.
    """
    text = request.stream.read()
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ApiError(400, "parseError", f"Parse Error: the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "Parse Error: the body is not a JSON object")
    return body


class Api:
    """The routes of one API.

    Rules are werkzeug's, matched against the path as it was sent: an object's name is one segment whatever slashes it
    holds, because the clients percent-encode them. Handlers get each value decoded.

    Args:
        errors: Turns what handlers raise, where it can, into what is answered.
    """

    def __init__(self, errors: Callable[[Exception], ApiError | None] = lambda _: None) -> None:
        self._errors = errors
        self._map = Map(strict_slashes=False, merge_slashes=False, redirect_defaults=False)
        self._methods: set[str] = set()
        self._adapter: MapAdapter | None = None

    @property
    def methods(self) -> frozenset[str]:
        """The API methods that have a route."""
        return frozenset(self._methods)

    def route(self, method: str, verb: str, rule: str) -> Callable[[Handler], Handler]:
        """Return a decorator that makes a function answer an API method.

        Args:
            method: The name in Google's reference, such as ``storage.objects.list``.
            verb: The HTTP method.
            rule: The path; values in ``<>`` are passed to the handler by name.
        """

        def register(handler: Handler) -> Handler:
            self._map.add(Rule(rule, methods=[verb], endpoint=(method, handler)))
            self._methods.add(method)
            return handler

        return register

    def answer(self, request: Request, faults: Faults) -> Response:
        """Find the method, apply a fault if one is due, and do the work.

        Raises:
            ConnectionDropped: A fault wants no answer to be sent.
        """
        method = "unknown"
        request.environ[FAULTS] = faults
        try:
            method, handler, values = self._match(request)
            arrival = faults.arrived(method, _subject(request, method, values))
            _refuse(arrival, faults)
            request.environ[_PENDING] = _pending(arrival)
            answer = handler(request, **values)
            if isinstance(answer, Mapping):
                faults.answered(arrival.call, of_answer(answer))
            response = _response(answer)
        except ApiError as error:
            return error.response()
        except (ConnectionError, ConnectionDropped):
            raise
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            return ApiError(400, "invalid", f"The body is not gzip: {error}").response()
        except OSError as error:
            if error.errno in _DISK_ERRORS:
                return _disk_error(error).response()
            return _bug(method, error).response()
        except Exception as error:  # noqa: BLE001  the client must get an answer, and the log everything
            return (self._errors(error) or _bug(method, error)).response()
        return _after(arrival, faults, response)

    def _match(self, request: Request) -> tuple[str, Handler, dict[str, str]]:
        if self._adapter is None:
            self._adapter = self._map.bind("local")
        path = raw_path(request)
        try:
            (method, handler), values = self._adapter.match(path, request.method)
        except HTTPException:
            raise not_implemented(f"{request.method} {unquote(path)}") from None
        try:
            return method, handler, {name: unquote(value, errors="strict") for name, value in values.items()}
        except UnicodeDecodeError:
            raise ApiError(400, "invalid", f"The path is not UTF-8: {path}") from None


def environment(verb: str, target: str, headers: Mapping[str, str], body: BinaryIO) -> dict[str, Any]:
    """Return the WSGI environment of a request.

    Args:
        verb: The HTTP method.
        target: Path and query as they were sent.
        headers: The headers.
        body: The body; it must end where the request ends.
    """
    parts = urlsplit(target)
    fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": verb,
        "REQUEST_URI": target.removeprefix(f"{parts.scheme}://{parts.netloc}"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path, "latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": fields.pop("HTTP_CONTENT_TYPE", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **fields,
    }


def raw_path(request: Request) -> str:
    """Return the path as it was sent, percent-encoding and all."""
    target = str(request.environ["REQUEST_URI"])
    return target.partition("?")[0]


def _response(answer: Mapping[str, Any] | Response | None) -> Response:
    if answer is None:
        return Response(status=204)
    return answer if isinstance(answer, Response) else json_response(answer)


def _subject(request: Request, method: str, values: Mapping[str, str]) -> Subject:
    """Tell what a request is about; the body is read only where it alone says so."""
    body: Mapping[str, Any] = {}
    if method in _TOLD_BY_BODY and request.mimetype == "application/json" and "/upload/" not in raw_path(request):
        text = request.environ["wsgi.input"].read()
        request.environ["wsgi.input"] = io.BytesIO(text)
        with contextlib.suppress(ValueError):  # the handler will say so
            found = json.loads(text)
            body = found if isinstance(found, dict) else {}
    by_job = request.headers.get("Authorization") == AUTHORIZATION_OF_JOBS
    return of_request(values, request.args, body, by_job=by_job)


def _refuse(arrival: Arrival, faults: Faults) -> None:
    """Do what a fault does before the work."""
    fault, method = arrival.fault, arrival.call.method
    if fault is None or fault.kind == PENDING:
        return
    time.sleep(fault.seconds)
    match fault.kind:
        case "429":
            raise ApiError(429, "rateLimitExceeded", f"Exceeded rate limits: fault on request for {method}")
        case "500" | "503":
            raise ApiError(int(fault.kind), "backendError", f"Backend Error: fault on request for {method}")
        case "unavailable":
            _unavailable(method)
        case "reset":
            raise ConnectionDropped(reset=True)
        case "hold":
            faults.hold(arrival.call)
            raise ConnectionDropped(reset=True)


def _pending(arrival: Arrival) -> float:
    return arrival.fault.seconds if arrival.fault is not None and arrival.fault.kind == PENDING else 0.0


def pending_of(request: Request) -> float:
    """Tell for how many seconds the job that a request makes is to stay pending."""
    seconds: float = request.environ.get(_PENDING, 0.0)
    return seconds


def _after(arrival: Arrival, faults: Faults, response: Response) -> Response:
    """Do what a fault does after the work."""
    fault = arrival.fault
    if fault is None or fault.kind in ("latency", PENDING):
        return response
    response.close()
    if fault.kind == "accepted-hold":
        faults.hold(arrival.call)
    if fault.kind in ("accepted-hold", "lost-answer"):
        raise ConnectionDropped(reset=False)
    try:
        _unavailable(arrival.call.method)
    except ApiError as error:
        return error.response()


def _unavailable(method: str) -> NoReturn:
    raise ApiError(503, "backendError", f"The service is currently unavailable: fault on request for {method}")


def _disk_error(error: OSError) -> ApiError:
    place = f" {error.filename}" if error.filename else ""
    return ApiError(507, "insufficientStorage", f"The local cloud cannot write{place}: {error.strerror}")


def _bug(method: str, error: Exception) -> ApiError:
    """Report our own mistake; not as a 500, which clients would repeat for minutes."""
    _log.error("%s failed", method, exc_info=error)
    what = f"The local cloud failed in {method}: {type(error).__name__}: {error}; see daemon.log"
    return ApiError(501, "notImplemented", what)
