"""Batches: many calls of the JSON API in one request.

Contract: https://cloud.google.com/storage/docs/batch
"""

from __future__ import annotations

import io
import uuid
from email.parser import BytesHeaderParser

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.http import FAULTS, Api, ApiError, environment
from pydag_gcp.local.storage.multipart import Part, parts


class BatchRoutes:
    """The batch endpoint of an API.

    Args:
        api: Answers the calls.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def register(self, api: Api) -> None:
        """Add the route."""
        api.route("storage.batch", "POST", "/batch/storage/v1")(self.batch)

    def batch(self, request: Request) -> Response:
        """Carry out each call by itself, in order; each is counted, and may meet a fault, by itself."""
        boundary = f"batch_{uuid.uuid4().hex}"
        answers = [
            _answer_part(boundary, number, part, self._api.answer(_call(request, part), request.environ[FAULTS]))
            for number, part in enumerate(parts(request.stream, request.content_type), start=1)
        ]
        body = b"".join([*answers, f"--{boundary}--\r\n".encode()])
        return Response(body, content_type=f"multipart/mixed; boundary={boundary}")


def _call(request: Request, part: Part) -> Request:
    """Return the request that a part holds."""
    text = b"".join(part.chunks)
    line, _, rest = text.partition(b"\n")
    head, _, body = rest.replace(b"\r\n", b"\n").partition(b"\n\n")
    try:
        verb, target, _ = line.decode().split()
    except ValueError:
        raise ApiError(400, "badRequest", f"A part of the batch does not begin with a request line: {line!r}") from None
    if "/upload/" in target or "alt=media" in target:
        raise ApiError(400, "badRequest", "A batch cannot upload or download the contents of objects.")
    headers = dict(BytesHeaderParser().parsebytes(head + b"\n\n").items())
    return Request(environment(verb, target, {"Host": request.host, **headers}, io.BytesIO(body)))


def _answer_part(boundary: str, number: int, part: Part, response: Response) -> bytes:
    content_id = part.headers.get("content-id", f"<{number}>").strip("<>")
    headers = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    return (
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{content_id}>\r\n\r\n"
        f"HTTP/1.1 {response.status}\r\n{headers}\r\n"
    ).encode() + b"%b\r\n" % response.get_data()
