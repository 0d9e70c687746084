"""A running local cloud's ``/_pydag`` routes, called from another process; cheap to import."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local.calls import Call

_TIMEOUT = 30.0


class Remote:
    """Faults and calls of a local cloud; for one thread at a time.

    Args:
        url: Of one of its JSON APIs.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)

    def fault(self, order: dict[str, Any]) -> None:
        """Ask for a fault: see docs/local-cloud.md.

        Raises:
            ValueError: The order makes no sense.
            LocalCloudError: Nobody answers.
        """
        self._call("POST", "faults", order)

    def clear(self) -> None:
        """Forget every fault and every call, and let go of calls that are held."""
        self._call("DELETE", "faults")

    def calls(self) -> list[Call]:
        """Return the calls since the start, or since :meth:`clear`."""
        return [Call.from_json(call) for call in self._call("GET", "calls?details=true")["calls"]]

    def held(self) -> bool:
        """Tell whether a call is held."""
        return bool(self._call("GET", "holds")["calls"])

    def release(self) -> None:
        """Let go of the calls that are held."""
        self._call("DELETE", "holds")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _call(self, verb: str, name: str, body: object = None) -> Any:
        text = None if body is None else json.dumps(body)
        try:
            self._connection.request(verb, f"/_pydag/{name}", text, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = json.loads(response.read() or b"null")
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise LocalCloudError(f"the local cloud does not answer: {error}") from error
        if response.status >= 400:
            raise ValueError(answer["error"]["message"])
        return answer
