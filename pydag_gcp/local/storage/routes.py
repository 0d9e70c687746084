"""The Cloud Storage JSON API over :class:`~pydag_gcp.local.storage.objects.Objects`.

Contract: https://cloud.google.com/storage/docs/json_api/v1 ; whatever has no route here is refused by name.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request

from pydag_gcp.local.http import Api, ApiError, json_body
from pydag_gcp.local.storage.batch import BatchRoutes
from pydag_gcp.local.storage.object_routes import ObjectRoutes
from pydag_gcp.local.storage.objects import InvalidName, Objects
from pydag_gcp.local.storage.resources import (
    accept,
    bucket_fields,
    bucket_resource,
    error,
    integer,
    patched_bucket,
    precondition,
    updated_bucket,
)
from pydag_gcp.local.storage.upload_routes import UploadRoutes

_MOST_RESULTS = 1000


def routes(objects: Objects) -> Api:
    """Return the API over these buckets."""
    api = Api(errors=error)
    BucketRoutes(objects).register(api)
    ObjectRoutes(objects).register(api)
    UploadRoutes(objects).register(api)
    BatchRoutes(api).register(api)
    return api


class BucketRoutes:
    """``storage.buckets``.

    Args:
        objects: What is served.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def register(self, api: Api) -> None:
        """Add the routes."""
        api.route("storage.buckets.list", "GET", "/storage/v1/b")(self.list)
        api.route("storage.buckets.insert", "POST", "/storage/v1/b")(self.insert)
        api.route("storage.buckets.get", "GET", "/storage/v1/b/<bucket>")(self.get)
        api.route("storage.buckets.patch", "PATCH", "/storage/v1/b/<bucket>")(self.patch)
        api.route("storage.buckets.update", "PUT", "/storage/v1/b/<bucket>")(self.update)
        api.route("storage.buckets.delete", "DELETE", "/storage/v1/b/<bucket>")(self.delete)

    def list(self, request: Request) -> dict[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/list ."""
        accept(request, "maxResults", "pageToken", "prefix", "returnPartialSuccess")
        project = _project(request)
        prefix, after = request.args.get("prefix", ""), request.args.get("pageToken", "")
        size = min(integer(request, "maxResults") or _MOST_RESULTS, _MOST_RESULTS)
        found = [
            bucket
            for bucket in self._objects.buckets()
            if bucket.name.startswith(prefix) and bucket.name > after and bucket.project in {None, project}
        ]
        page = {"nextPageToken": found[size - 1].name} if len(found) > size else {}
        items = [bucket_resource(request, bucket) for bucket in found[:size]]
        return {"kind": "storage#buckets", **page, **({"items": items} if items else {})}

    def insert(self, request: Request) -> dict[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/insert ."""
        accept(request)
        project = _project(request)
        body = json_body(request)
        name = body.get("name")
        if not isinstance(name, str):
            raise InvalidName("Required parameter: name")
        bucket = self._objects.create_bucket(name, project=project, fields=bucket_fields(body))
        return bucket_resource(request, bucket)

    def get(self, request: Request, bucket: str) -> dict[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/get ."""
        accept(request)
        found = self._objects.bucket(bucket)
        precondition(request).check(found)
        return bucket_resource(request, found)

    def patch(self, request: Request, bucket: str) -> dict[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/patch ."""
        accept(request)
        body = json_body(request)
        changed = self._objects.change_bucket(
            bucket, lambda fields: patched_bucket(fields, body), precondition=precondition(request)
        )
        return bucket_resource(request, changed)

    def update(self, request: Request, bucket: str) -> dict[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/update ."""
        accept(request)
        body = json_body(request)
        changed = self._objects.change_bucket(
            bucket, lambda fields: updated_bucket(fields, body), precondition=precondition(request)
        )
        return bucket_resource(request, changed)

    def delete(self, request: Request, bucket: str) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/delete ."""
        accept(request)
        self._objects.delete_bucket(bucket, precondition=precondition(request))


def _project(request: Request) -> str:
    project = request.args.get("project")
    if not project:
        raise ApiError(400, "required", "Required parameter: project", location="project", location_type="parameter")
    return project
