"""The JSON API layer and the server under it, over real sockets."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.wrappers import Request, Response

from pydag_gcp.local.admin import Service
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.http import Api, ApiError, json_body, not_implemented
from pydag_gcp.local.serving import Body, HttpServer


class Calls:
    """What the handlers of the API under test have seen."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.gate = threading.Event()


def _api(calls: Calls) -> Api:
    api = Api(errors=lambda error: ApiError(404, "notFound", "gone") if isinstance(error, LookupError) else None)

    @api.route("test.things.get", "GET", "/v1/things/<name>")
    def get(_: Request, name: str) -> Mapping[str, Any]:
        calls.seen.append(name)
        return {"name": name}

    @api.route("test.things.insert", "POST", "/v1/things")
    def insert(request: Request) -> Mapping[str, Any]:
        body = json_body(request)
        calls.seen.append(body)
        return body

    @api.route("test.things.delete", "DELETE", "/v1/things/<name>")
    def delete(_: Request, name: str) -> None:
        calls.seen.append(name)

    @api.route("test.bytes.insert", "POST", "/v1/bytes")
    def take(request: Request) -> Mapping[str, Any]:
        size = 0
        while block := request.stream.read(1 << 16):
            size += len(block)
        return {"size": size}

    @api.route("test.bytes.ignore", "POST", "/v1/ignore")
    def ignore(_: Request) -> Mapping[str, Any]:
        return {}

    @api.route("test.bytes.list", "GET", "/v1/stream")
    def stream(request: Request) -> Response:
        def chunks() -> Iterator[bytes]:
            yield b"one,"
            yield b"two"
            if "break" in request.args:
                raise RuntimeError("in the middle")

        return Response(chunks())

    @api.route("test.errors.get", "GET", "/v1/errors/<kind>")
    def fail(_: Request, kind: str) -> None:
        if kind == "api":
            raise ApiError(400, "invalid", "no good", location="kind", location_type="parameter")
        if kind == "disk":
            raise OSError(28, "No space left on device", "/data/x")
        raise {"lookup": LookupError, "bug": ZeroDivisionError}[kind]("ouch")

    @api.route("test.slow.get", "GET", "/v1/slow")
    def slow(_: Request) -> Mapping[str, Any]:
        calls.gate.wait(10)
        return {}

    return api


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def server(calls: Calls, faults: Faults) -> Iterator[HttpServer]:
    server = HttpServer(Service(_api(calls), faults))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connection(server: HttpServer) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    yield connection
    connection.close()


def _ask(
    connection: HTTPConnection, verb: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[HTTPResponse, Any]:
    connection.request(verb, target, body, dict(headers or {}))
    response = connection.getresponse()
    text = response.read()
    is_json = "json" in response.headers.get("Content-Type", "")
    return response, json.loads(text) if is_json else text


class TestRouting:
    @pytest.mark.parametrize("name", ["a", "a/b", "a%2Fb", "..", "ü ?#&=", "a/compose", "/"])
    def test_a_path_value_is_one_segment_whatever_it_holds(
        self, connection: HTTPConnection, name: str, calls: Calls
    ) -> None:
        from urllib.parse import quote

        response, body = _ask(connection, "GET", f"/v1/things/{quote(name, safe='')}?alt=json")
        assert (response.status, body) == (200, {"name": name})

    def test_none_is_sent_as_204_without_a_body(self, connection: HTTPConnection) -> None:
        response, body = _ask(connection, "DELETE", "/v1/things/a")
        assert (response.status, body) == (204, b"")

    @pytest.mark.parametrize(("verb", "target"), [("GET", "/v1/other"), ("PATCH", "/v1/things/x%2Fy")])
    def test_what_has_no_route_is_refused_by_name(self, connection: HTTPConnection, verb: str, target: str) -> None:
        response, body = _ask(connection, verb, target)
        assert response.status == 501
        assert body["error"]["errors"][0]["reason"] == "notImplemented"
        assert f"{verb} /v1/" in body["error"]["message"]

    def test_a_path_that_is_not_utf8_is_refused(self, connection: HTTPConnection, calls: Calls) -> None:
        response, _ = _ask(connection, "GET", "/v1/things/%FF")
        assert response.status == 400
        assert calls.seen == []


class TestErrors:
    """The shape is that of https://cloud.google.com/storage/docs/json_api/v1/status-codes ."""

    def test_an_api_error_is_sent_in_googles_shape(self, connection: HTTPConnection) -> None:
        response, body = _ask(connection, "GET", "/v1/errors/api")
        assert response.status == 400
        assert body == {
            "error": {
                "code": 400,
                "message": "no good",
                "status": "INVALID_ARGUMENT",
                "errors": [
                    {
                        "message": "no good",
                        "domain": "global",
                        "reason": "invalid",
                        "location": "kind",
                        "locationType": "parameter",
                    }
                ],
            }
        }

    def test_an_api_turns_its_own_errors_into_answers(self, connection: HTTPConnection) -> None:
        assert _ask(connection, "GET", "/v1/errors/lookup")[0].status == 404

    def test_a_bug_of_ours_is_never_a_500_that_clients_would_repeat(
        self, connection: HTTPConnection, caplog: pytest.LogCaptureFixture
    ) -> None:
        response, body = _ask(connection, "GET", "/v1/errors/bug")
        assert response.status == 501
        assert "test.errors.get: ZeroDivisionError: ouch" in body["error"]["message"]
        assert "ZeroDivisionError" in caplog.text

    def test_a_full_disk_is_said_plainly(self, connection: HTTPConnection) -> None:
        response, body = _ask(connection, "GET", "/v1/errors/disk")
        assert response.status == 507
        assert body["error"]["message"] == "The local cloud cannot write /data/x: No space left on device"

    @pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff"])
    def test_a_body_that_is_no_json_object_is_a_parse_error(self, connection: HTTPConnection, text: bytes) -> None:
        response, body = _ask(connection, "POST", "/v1/things", text)
        assert response.status == 400
        assert body["error"]["errors"][0]["reason"] == "parseError"

    def test_an_error_from_a_name_says_what_is_missing(self) -> None:
        assert not_implemented("X").message == "The local cloud does not implement X."


class TestBodies:
    def test_a_connection_carries_many_requests(self, connection: HTTPConnection) -> None:
        _ask(connection, "POST", "/v1/things", b"{}")
        before = connection.sock.getsockname()
        for _ in range(3):
            _ask(connection, "POST", "/v1/things", b'{"a": 1}')
        assert connection.sock.getsockname() == before

    def test_bodies_are_read_in_chunks(self, connection: HTTPConnection) -> None:
        chunks = [b"x" * size for size in (1, 70_000, 3)]
        connection.request("POST", "/v1/bytes", iter(chunks), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        response = connection.getresponse()
        assert json.loads(response.read()) == {"size": 70_004}
        assert _ask(connection, "GET", "/v1/things/a")[0].status == 200

    def test_gzip_is_unpacked(self, connection: HTTPConnection) -> None:
        body = gzip.compress(b"x" * 1_000_000)
        _, answer = _ask(connection, "POST", "/v1/bytes", body, {"Content-Encoding": "gzip"})
        assert answer == {"size": 1_000_000}

    @pytest.mark.parametrize("body", [b"not gzip at all", gzip.compress(b"x" * 1000, mtime=0)[:-20]])
    def test_gzip_that_is_none_is_the_clients_fault(self, connection: HTTPConnection, body: bytes) -> None:
        response, _ = _ask(connection, "POST", "/v1/bytes", body, {"Content-Encoding": "gzip"})
        assert response.status == 400

    def test_a_body_that_nobody_reads_does_not_spoil_the_next_request(self, connection: HTTPConnection) -> None:
        _ask(connection, "POST", "/v1/ignore", b"GET /v1/things/evil HTTP/1.1\r\n\r\n" * 100_000)
        assert _ask(connection, "GET", "/v1/things/good")[1] == {"name": "good"}

    def test_answers_of_unknown_length_are_streamed(self, connection: HTTPConnection) -> None:
        response, body = _ask(connection, "GET", "/v1/stream")
        assert body == b"one,two"
        assert response.headers["Transfer-Encoding"] == "chunked"

    @pytest.mark.filterwarnings("default")
    def test_an_answer_that_breaks_off_is_seen_to_be_incomplete(self, server: HttpServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /v1/stream?break HTTP/1.1\r\nHost: x\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(1000), b""))
        assert b"one," in text
        assert not text.endswith(b"0\r\n\r\n")

    def test_100_continue_is_sent_before_the_body_is_waited_for(self, server: HttpServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            client.sendall(b"POST /v1/bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 100")
            client.sendall(b"abc")
            assert b'{"size":3}' in client.recv(1000)

    @pytest.mark.parametrize("head", [b"Content-Length: -1", b"Content-Length: x", b"Transfer-Encoding: br, chunked"])
    def test_bad_framing_ends_the_connection(self, server: HttpServer, head: bytes) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            client.sendall(b"POST /v1/bytes HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(1000), b""))
        assert text.startswith(b"HTTP/1.1 400")

    def test_a_client_that_goes_away_in_the_middle_has_said_nothing(self, server: HttpServer, calls: Calls) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b'POST /v1/things HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"a": 1}')
        deadline = time.monotonic() + 5
        while server.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        assert calls.seen == []

    @given(data=st.binary(max_size=5000), cuts=st.lists(st.integers(1, 700), min_size=1))
    def test_a_chunked_body_is_the_concatenation_of_its_chunks(self, data: bytes, cuts: list[int]) -> None:
        wire, rest = b"", data
        for cut in cuts:
            if rest:
                wire += b"%x;extension\r\n%b\r\n" % (len(rest[:cut]), rest[:cut])
                rest = rest[cut:]
        if rest:
            wire += b"%x\r\n%b\r\n" % (len(rest), rest)
        source = io.BufferedReader(io.BytesIO(wire + b"0\r\n\r\nnext request"))
        assert io.BufferedReader(Body(source, None)).read() == data
        assert source.read() == b"next request"


class TestFaults:
    @pytest.mark.parametrize(("kind", "status"), [("429", 429), ("500", 500), ("503", 503), ("unavailable", 503)])
    def test_a_refusal_does_no_work(
        self, connection: HTTPConnection, faults: Faults, calls: Calls, kind: str, status: int
    ) -> None:
        faults.add("test.things.insert", kind=kind)
        assert _ask(connection, "POST", "/v1/things", b'{"n": 1}')[0].status == status
        assert calls.seen == []
        assert _ask(connection, "POST", "/v1/things", b'{"n": 2}')[0].status == 200

    def test_accepted_503_does_the_work(self, connection: HTTPConnection, faults: Faults, calls: Calls) -> None:
        faults.add("test.things.insert", kind="accepted-503")
        assert _ask(connection, "POST", "/v1/things", b'{"n": 1}')[0].status == 503
        assert calls.seen == [{"n": 1}]

    def test_a_lost_answer_does_the_work(self, connection: HTTPConnection, faults: Faults, calls: Calls) -> None:
        faults.add("test.things.insert", kind="lost-answer")
        with pytest.raises(RemoteDisconnected):
            _ask(connection, "POST", "/v1/things", b'{"n": 1}')
        assert calls.seen == [{"n": 1}]

    def test_a_reset_does_no_work(self, connection: HTTPConnection, faults: Faults, calls: Calls) -> None:
        faults.add("test.things.insert", kind="reset")
        with pytest.raises(ConnectionResetError) as error:
            _ask(connection, "POST", "/v1/things", b'{"n": 1}')
        assert not isinstance(error.value, RemoteDisconnected)
        assert calls.seen == []

    def test_latency_waits_and_then_works(self, connection: HTTPConnection, faults: Faults) -> None:
        faults.add("test.things.get", kind="latency", seconds=0.1)
        start = time.monotonic()
        assert _ask(connection, "GET", "/v1/things/a")[0].status == 200
        assert time.monotonic() - start >= 0.1

    def test_faults_and_counts_are_reached_over_http(self, connection: HTTPConnection) -> None:
        order = {"method": "test.things.get", "fault": "503", "call": 2}
        assert _ask(connection, "POST", "/_pydag/faults", json.dumps(order))[0].status == 200
        statuses = [_ask(connection, "GET", "/v1/things/a")[0].status for _ in range(3)]
        assert statuses == [200, 503, 200]
        assert _ask(connection, "GET", "/_pydag/calls")[1] == {"test.things.get": 3}
        assert _ask(connection, "DELETE", "/_pydag/faults")[0].status == 204
        assert _ask(connection, "GET", "/_pydag/calls")[1] == {}

    @pytest.mark.parametrize(
        "order",
        [
            {"fault": "503"},
            {"method": "test.things.get", "fault": "teapot"},
            {"method": "test.things.misspelt", "fault": "503"},
            {"method": "test.things.get", "fault": "503", "calls": 3},
        ],
    )
    def test_an_order_that_makes_no_sense_is_refused(self, connection: HTTPConnection, order: dict[str, Any]) -> None:
        assert _ask(connection, "POST", "/_pydag/faults", json.dumps(order))[0].status == 400


class TestServer:
    def test_a_taken_port_is_an_oserror(self, server: HttpServer) -> None:
        with pytest.raises(OSError, match="in use"):
            HttpServer(lambda _: Response(), port=server.port)

    def test_many_connections_at_once(self, server: HttpServer) -> None:
        statuses: list[int] = []

        def ask() -> None:
            connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
            statuses.append(_ask(connection, "GET", "/v1/things/a")[0].status)
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 60

    def test_stopping_lets_a_request_in_flight_end(self, calls: Calls) -> None:
        # Given a request that is being answered
        server = HttpServer(Service(_api(calls), Faults()))
        server.start()
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/v1/slow")
        while not server.busy:
            time.sleep(0.01)
        # When the server is stopped, and the work ends within the grace
        threading.Timer(0.2, calls.gate.set).start()
        server.stop(grace=5)
        # Then the client has its answer
        assert connection.getresponse().status == 200
        connection.close()
