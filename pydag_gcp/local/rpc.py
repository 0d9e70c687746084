"""gRPC services of the local cloud, without generated servicers.

Google's client packages ship message classes but no servicers, so a service here is a table from RPC name to
:class:`Method`, served by generic handlers. Every call passes the faults hook first; whatever a service does
not offer is refused by name with ``UNIMPLEMENTED``.

Status codes follow https://grpc.io/docs/guides/status-codes/ and https://cloud.google.com/apis/design/errors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from pydag_gcp.local.faults import Arrival, Faults
from pydag_gcp.local.subjects import of_message

#: Calls served at once; a stream holds one of them until it ends.
MAX_CALLS = 64

#: Messages may be as large as their sender makes them: Arrow batches and job arguments know no limit of ours.
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)


_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class RpcError(Exception):
    """A call's refusal, answered to the client as its gRPC status.

    Args:
        code: The gRPC status code.
        message: What is wrong, where, and how to mend it, in one line.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def not_found(message: str) -> RpcError:
    """Make the error of a resource that is not there."""
    return RpcError(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> RpcError:
    """Make the error of a name or id that is taken."""
    return RpcError(grpc.StatusCode.ALREADY_EXISTS, message)


def invalid_argument(message: str) -> RpcError:
    """Make the error of a request that no state of the service could accept."""
    return RpcError(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> RpcError:
    """Make the error of a request that the resource's present state forbids."""
    return RpcError(grpc.StatusCode.FAILED_PRECONDITION, message)


def unimplemented(message: str) -> RpcError:
    """Make the error that names what the local cloud does not do."""
    return RpcError(grpc.StatusCode.UNIMPLEMENTED, message)


def check_request_id(request_id: str) -> None:
    """Refuse a ``request_id`` that Google's services refuse.

    Raises:
        RpcError: INVALID_ARGUMENT.
    """
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        raise invalid_argument(f"Invalid request_id '{request_id}': expected at most 40 letters, numbers, _ and -")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One RPC of a service.

    Attributes:
        function: Takes the request message; returns the response, or an iterator of them if ``streaming``.
        request: The request's message class, of proto-plus or of plain protobuf.
        response: The response's message class, likewise.
        streaming: Whether the server answers with a stream.
    """

    function: Callable[[Any], Any]
    request: type
    response: type
    streaming: bool = False


@dataclass(frozen=True, kw_only=True)
class _Codec:
    """How messages of one class cross the wire; proto-plus and protobuf name it differently."""

    parse: Callable[[bytes], Any]
    serialize: Callable[[Any], bytes]


def _codec(message: type) -> _Codec:
    if hasattr(message, "deserialize"):
        return _Codec(parse=message.deserialize, serialize=message.serialize)  # type: ignore[attr-defined]
    return _Codec(parse=message.FromString, serialize=message.SerializeToString)  # type: ignore[attr-defined]


class Service(grpc.GenericRpcHandler):
    """A gRPC service made of plain functions; build it with :func:`service`."""

    def __init__(self, name: str, short: str, methods: Mapping[str, Method]) -> None:
        self.name = name
        self.short = short
        self.methods = dict(methods)
        self._faults: Faults | None = None

    def obey(self, faults: Faults) -> None:
        """Ask ``faults`` before each call from now on."""
        faults.know(f"{self.short}.{rpc}" for rpc in self.methods)
        self._faults = faults

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Find the handler of one call, or None if it belongs to another service."""
        service_name, _, rpc = handler_call_details.method.lstrip("/").rpartition("/")
        if service_name != self.name:
            return None
        method = self.methods.get(rpc)
        if method is None:
            return _refusal(f"{self.name}.{rpc} is not offered by the local cloud")
        request, response = _codec(method.request), _codec(method.response)
        if method.streaming:
            make, call = grpc.unary_stream_rpc_method_handler, self._streaming
        else:
            make, call = grpc.unary_unary_rpc_method_handler, self._unary
        return make(
            lambda message, context: call(f"{self.short}.{rpc}", method, message, context),
            request_deserializer=request.parse,
            response_serializer=response.serialize,
        )

    def _unary(self, label: str, method: Method, message: object, context: grpc.ServicerContext) -> Any:
        arrival = self._before(label, message, context)
        try:
            answer = method.function(message)
        except RpcError as error:
            context.abort(error.code, error.message)
        if self._faults is not None and arrival is not None:
            self._faults.answered(arrival.call, of_message(answer))
        self._after(arrival, context)
        return answer

    def _streaming(self, label: str, method: Method, message: object, context: grpc.ServicerContext) -> Iterator[Any]:
        arrival = self._before(label, message, context)
        try:
            yield from method.function(message)
        except RpcError as error:
            context.abort(error.code, error.message)
        self._after(arrival, context)

    def _before(self, label: str, message: object, context: grpc.ServicerContext) -> Arrival | None:
        if self._faults is None:
            return None
        arrival = self._faults.arrived(label, of_message(message))
        fault = arrival.fault
        if fault is None:
            return arrival
        if fault.seconds:
            time.sleep(fault.seconds)
        if fault.kind == "hold":
            self._faults.hold(arrival.call)
        if fault.kind in _REFUSED:
            code, text = _REFUSED[fault.kind]
            context.abort(code, f"{text}: a fault requested for {label}")
        return arrival

    def _after(self, arrival: Arrival | None, context: grpc.ServicerContext) -> None:
        if self._faults is None or arrival is None or arrival.fault is None:
            return
        if arrival.fault.kind == "accepted-hold":
            self._faults.hold(arrival.call)
        if arrival.fault.kind in _DONE_BUT_LOST:
            message = f"{_DONE_BUT_LOST[arrival.fault.kind]}: a fault requested for {arrival.call.method}"
            context.abort(grpc.StatusCode.UNAVAILABLE, message)


_REFUSED = {
    "429": (grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded"),
    "500": (grpc.StatusCode.INTERNAL, "Internal error encountered"),
    "503": (grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable"),
    "unavailable": (grpc.StatusCode.UNAVAILABLE, "The service is currently unavailable"),
    "reset": (grpc.StatusCode.UNAVAILABLE, "Connection reset by peer"),
    "hold": (grpc.StatusCode.UNAVAILABLE, "Connection reset by peer"),
}
_DONE_BUT_LOST = {
    "accepted-503": "The service is currently unavailable",
    "lost-answer": "Socket closed",
    "accepted-hold": "Socket closed",
}


def _refusal(message: str) -> grpc.RpcMethodHandler[Any, Any]:
    def refuse(_: bytes, context: grpc.ServicerContext) -> NoReturn:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, message)

    return grpc.unary_unary_rpc_method_handler(refuse)


class _UnknownServices(grpc.GenericRpcHandler):
    """The last handler asked: names the service that nobody offers."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        name = handler_call_details.method.lstrip("/").replace("/", ".")
        return _refusal(f"{name} is not offered by the local cloud")


def service(name: str, short: str, methods: Mapping[str, Method]) -> Service:
    """Make a gRPC service of plain functions.

    Args:
        name: The full name on the wire, such as ``google.cloud.dataproc.v1.JobController``.
        short: The name that faults and call counts go by, such as ``dataproc`` in ``dataproc.SubmitJob``.
        methods: The RPCs by name.
    """
    return Service(name, short, methods)


def serve(
    handlers: Iterable[grpc.GenericRpcHandler],
    host: str,
    port: int,
    faults: Faults | None = None,
    *,
    max_calls: int = MAX_CALLS,
) -> tuple[grpc.Server, int]:
    """Start a gRPC server without TLS; stop it with ``server.stop(grace)``.

    Args:
        handlers: The services to offer.
        host: The address to bind.
        port: The port to bind; 0 takes any free one.
        faults: Asked before each call.
        max_calls: Calls served at once; others wait.

    Returns:
        The running server and the port it listens on.

    Raises:
        OSError: The address is taken or cannot be bound.
    """
    offered: list[grpc.GenericRpcHandler] = [*handlers, _UnknownServices()]
    if faults is not None:
        for handler in offered:
            if isinstance(handler, Service):
                handler.obey(faults)
    pool = futures.ThreadPoolExecutor(max_calls, thread_name_prefix="rpc")
    server = grpc.server(pool, handlers=offered, options=_OPTIONS)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error}") from error
    server.start()
    return server, bound
