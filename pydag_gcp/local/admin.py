"""The routes under ``/_pydag`` that every JSON API has beside its own: faults, and the calls that were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.faults import Faults, Order
from pydag_gcp.local.http import Api, ApiError, json_body, raw_path


class Service:
    """An API with the faults asked of it, and the ``/_pydag`` routes that ask for them.

    Args:
        api: The routes.
        faults: Shared by every service of the local cloud.
    """

    def __init__(self, api: Api, faults: Faults) -> None:
        self._api = api
        self._faults = faults
        self._admin = _admin_routes(faults)
        self._unmetered = Faults()
        faults.know(api.methods)

    def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            ConnectionDropped: A fault wants no answer to be sent.
        """
        if raw_path(request).startswith("/_pydag/"):
            return self._admin.answer(request, self._unmetered)
        return self._api.answer(request, self._faults)


def _admin_routes(faults: Faults) -> Api:
    api = Api()

    @api.route("pydag.faults.insert", "POST", "/_pydag/faults")
    def insert(request: Request) -> Mapping[str, Any]:
        try:
            faults.order(_order(json_body(request)))
        except (ValueError, TypeError) as error:
            raise ApiError(400, "invalid", str(error)) from None
        return {}

    @api.route("pydag.faults.delete", "DELETE", "/_pydag/faults")
    def delete(_: Request) -> None:
        faults.clear()

    @api.route("pydag.calls.list", "GET", "/_pydag/calls")
    def calls(request: Request) -> Mapping[str, Any]:
        if "details" in request.args:
            return {"calls": [call.to_json() for call in faults.details()]}
        return faults.calls()

    @api.route("pydag.holds.list", "GET", "/_pydag/holds")
    def holds(_: Request) -> Mapping[str, Any]:
        return {"calls": [call.to_json() for call in faults.held()]}

    @api.route("pydag.holds.delete", "DELETE", "/_pydag/holds")
    def release(_: Request) -> None:
        faults.release()

    return api


def _order(body: dict[str, Any]) -> Order:
    """Read what asks for a fault.

    Raises:
        ApiError: Something is missing.
        ValueError, TypeError: Something means nothing.
    """
    given = {"kind" if name == "fault" else name: value for name, value in body.items()}
    for name, kind in (("call", int), ("times", int), ("seconds", float)):
        if name in given:
            given[name] = kind(given[name])
    try:
        return Order(method=str(given.pop("method")), kind=str(given.pop("kind")), **given)
    except KeyError as error:
        name = "fault" if error.args[0] == "kind" else error.args[0]
        raise ApiError(400, "required", f"Required parameter: {name}") from None
