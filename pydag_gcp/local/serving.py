"""The HTTP/1.1 server under the JSON APIs: a thread per connection, bodies streamed both ways."""

from __future__ import annotations

import gzip
import io
import logging
import selectors
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO, cast

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.http import ConnectionDropped, environment

Application = Callable[[Request], Response]

_BLOCK = 1 << 18

_log = logging.getLogger(__name__)


class Body(io.RawIOBase):
    """A request's body as it arrives; never reads into the next request.

    Args:
        source: The connection.
        length: The length that the client declared, in bytes; None if the body comes in chunks
            (https://www.rfc-editor.org/rfc/rfc9112#section-7.1).
    """

    def __init__(self, source: io.BufferedIOBase, length: int | None) -> None:
        self._source = source
        self._chunked = length is None
        self._left = length or 0
        self._ended = length == 0

    def readable(self) -> bool:
        """A body can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, at most what fits.

        Raises:
            ConnectionError: The client went away before the end.
        """
        if not self._left and not self._ended:
            self._next_chunk()
        if self._ended:
            return 0
        view = memoryview(buffer)[: self._left]
        count = self._source.readinto1(view)
        if not count:
            raise ConnectionError("the client went away in the middle of a body")
        self._left -= count
        if not self._left:
            self._end_chunk()
        return count

    def drain(self) -> None:
        """Read to the end, so that the next request on this connection can be read."""
        buffer = bytearray(_BLOCK)
        while self.readinto(buffer):
            pass

    def _next_chunk(self) -> None:
        line = self._source.readline(1024)
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            raise ConnectionError(f"not the size of a chunk: {line!r}") from None
        if self._left < 0:
            raise ConnectionError(f"not the size of a chunk: {line!r}")
        if not self._left:
            while self._source.readline(65536).strip():
                pass  # trailers, which no client sends us anything in
            self._ended = True

    def _end_chunk(self) -> None:
        if self._chunked:
            self._source.readline(2)
        else:
            self._ended = True


class HttpServer:
    """Serves one application on one port.

    Args:
        application: Answers each request, on a thread of its connection.
        host: The address to listen on.
        port: The port; 0 takes any free one.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, application: Application, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server((host, port), application)
        self._thread = threading.Thread(target=self._server.accept_all, name=f"http-{self.port}", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._server.in_flight > 0

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self, grace: float = 0.0) -> None:
        """Take no more connections, and give the requests in flight some time to end.

        Args:
            grace: How long, in seconds.
        """
        self._server.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._server.server_close()
        deadline = time.monotonic() + grace
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        self._server.hang_up()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        self.application = application
        self.in_flight = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._waker, self._woken = socket.socketpair()
        super().__init__(address, _Connection)

    def accept_all(self) -> None:
        """Accept connections until :meth:`wake`; unlike ``serve_forever``, this neither polls nor ends late."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                self._handle_request_noblock()  # type: ignore[attr-defined]

    def wake(self) -> None:
        self._waker.close()

    def server_close(self) -> None:
        super().server_close()
        self._waker.close()
        self._woken.close()

    def count(self, step: int) -> None:
        with self._lock:
            self.in_flight += step

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        # Not super's, which sends FIN first: a connection that is to be reset must send nothing but RST.
        self.close_request(request)

    def hang_up(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was quicker

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.exception("connection from %s failed", client_address)


class _Connection(BaseHTTPRequestHandler):
    """One client's connection, kept alive from request to request."""

    protocol_version = "HTTP/1.1"
    server_version = "pydag"
    wbufsize = _BLOCK
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            super().handle()
        except (ConnectionError, TimeoutError) as error:
            self._abandon(error)

    def finish(self) -> None:
        for file in (self.wfile, self.rfile):
            with suppress(OSError):  # the client was quicker
                file.close()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
            return
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            self.wfile.flush()
            self.close_connection = True
            return
        if not self.parse_request():
            self.wfile.flush()
            return
        self.server.count(+1)
        try:
            self._answer()
        finally:
            self.server.count(-1)

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        _log.debug(format, *args)

    def _answer(self) -> None:
        try:
            body = self._body()
            request = Request(self._environ(body))
        except ValueError:
            self.send_error(400, "Bad framing of the body")
            self.wfile.flush()
            self.close_connection = True
            return
        try:
            response = self.server.application(request)
        except ConnectionDropped as dropped:
            if dropped.reset:
                # Closing with a linger of zero seconds is what sends RST: socket(7), SO_LINGER.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                body.drain()
            self.close_connection = True
            return
        self._send(request, response)
        body.drain()

    def _body(self) -> Body:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return Body(self.rfile, None)
        length = int(self.headers.get("Content-Length") or 0)
        if length < 0 or self.headers.get("Transfer-Encoding"):
            raise ValueError(length)
        return Body(self.rfile, length)

    def _environ(self, body: Body) -> dict[str, Any]:
        host, port = self.server.server_address[:2]
        stream: BinaryIO = io.BufferedReader(body, 1 << 16)
        if self.headers.get("Content-Encoding", "").lower() == "gzip":
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=stream))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        environ = environment(self.command, self.path, headers, stream)
        if (length := self.headers.get("Content-Length")) is not None:
            environ["CONTENT_LENGTH"] = length
        return environ | {"SERVER_NAME": str(host), "SERVER_PORT": str(port)}

    def _send(self, request: Request, response: Response) -> None:
        chunks, status, headers = response.get_wsgi_response(request.environ)
        try:
            framed = self._send_head(status, headers)
            for chunk in chunks:
                if not chunk:
                    continue
                if framed:
                    self.wfile.write(chunk)
                else:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if not framed:
                self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        finally:
            if callable(close := getattr(chunks, "close", None)):
                close()

    def _send_head(self, status: str, headers: list[tuple[str, str]]) -> bool:
        """Send all that comes before the body; return whether its length is known."""
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        framed = self.command == "HEAD" or code in {"204", "304"}
        for name, value in headers:
            self.send_header(name, value)
            framed = framed or name.lower() == "content-length"
        if not framed:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        return framed

    def _abandon(self, error: Exception) -> None:
        _log.debug("the client went away: %s", error)
        self.close_connection = True
