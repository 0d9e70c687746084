"""``storage.objects``, all but ``insert``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.http import Api, ApiError, json_body, not_implemented
from pydag_gcp.local.storage.downloads import contents
from pydag_gcp.local.storage.listing import Listing
from pydag_gcp.local.storage.objects import ObjectNotFound, Objects, Opened, PreconditionFailed, StoredObject
from pydag_gcp.local.storage.resources import (
    accept,
    integer,
    object_etag,
    object_fields,
    object_resource,
    patched_object,
    precondition,
    updated_object,
    wants_checksums,
)
from pydag_gcp.local.storage.stored import Fields

#: https://cloud.google.com/storage/quotas#objects
_MOST_COMPONENTS = 32

#: How often a file that another process keeps writing is looked at again.
_TRIES = 5

Edit = Callable[[Fields], Fields]

_OBJECT = "/storage/v1/b/<bucket>/o/<name>"


class ObjectRoutes:
    """The routes of objects.

    Args:
        objects: What is served.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def register(self, api: Api) -> None:
        """Add the routes."""
        to = "b/<to_bucket>/o/<to_name>"
        api.route("storage.objects.list", "GET", "/storage/v1/b/<bucket>/o")(self.list)
        api.route("storage.objects.get", "GET", _OBJECT)(self.get)
        api.route("storage.objects.get", "GET", f"/download{_OBJECT}")(self.download)
        api.route("storage.objects.patch", "PATCH", _OBJECT)(self.patch)
        api.route("storage.objects.update", "PUT", _OBJECT)(self.update)
        api.route("storage.objects.delete", "DELETE", _OBJECT)(self.delete)
        api.route("storage.objects.compose", "POST", f"{_OBJECT}/compose")(self.compose)
        api.route("storage.objects.copy", "POST", f"{_OBJECT}/copyTo/{to}")(self.copy)
        api.route("storage.objects.rewrite", "POST", f"{_OBJECT}/rewriteTo/{to}")(self.rewrite)

    def list(self, request: Request, bucket: str) -> Mapping[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/list ."""
        listing = Listing.of(request)
        page = listing.page(self._objects, bucket)
        answer: dict[str, Any] = {"kind": "storage#objects"}
        if page.next_token is not None:
            answer["nextPageToken"] = page.next_token
        if page.prefixes:
            answer["prefixes"] = page.prefixes
        if page.objects:
            resources = (self._current(request, stored) for stored in page.objects)
            answer["items"] = [resource for resource in resources if resource is not None]
        return answer

    def get(self, request: Request, bucket: str, name: str) -> Mapping[str, Any] | Response:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/get ."""
        if request.args.get("alt") == "media":
            return self.download(request, bucket, name)
        accept(request, "generation")
        generation = integer(request, "generation")
        stored = self._objects.get(bucket, name, generation=generation)
        if (unmodified := _unmodified(request, stored)) is not None:
            return unmodified
        if generation is not None:
            return self._resource(request, stored)
        resource = self._current(request, stored)
        if resource is None:
            raise ObjectNotFound(bucket, name)
        return resource

    def download(self, request: Request, bucket: str, name: str) -> Response:
        """https://cloud.google.com/storage/docs/downloading-objects ."""
        accept(request, "generation")
        generation = integer(request, "generation")
        for _ in range(_TRIES):
            opened = self._objects.opened(bucket, name, generation=generation)
            with ExitStack() as stack:
                stack.callback(opened.file.close)
                if (unmodified := _unmodified(request, opened.stored)) is not None:
                    return unmodified
                try:
                    checksums = self._objects.checksums(opened.stored)
                except ObjectNotFound:
                    continue  # it was replaced since it was opened
                response = contents(request, opened, checksums)
                response.call_on_close(stack.pop_all().close)
                return response
        raise ObjectNotFound(bucket, name)

    def patch(self, request: Request, bucket: str, name: str) -> Mapping[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/patch ."""
        accept(request, "generation", "overrideUnlockedRetention")
        body = json_body(request)
        return self._change(request, bucket, name, lambda fields: patched_object(fields, body))

    def update(self, request: Request, bucket: str, name: str) -> Mapping[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/update ."""
        accept(request, "generation", "overrideUnlockedRetention")
        body = json_body(request)
        return self._change(request, bucket, name, lambda fields: updated_object(fields, body))

    def delete(self, request: Request, bucket: str, name: str) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/delete ."""
        accept(request, "generation")
        generation = integer(request, "generation")
        self._objects.delete(bucket, name, generation=generation, precondition=precondition(request))

    def compose(self, request: Request, bucket: str, name: str) -> Mapping[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/compose ."""
        accept(request, "kmsKeyName")
        body = json_body(request)
        sources = [_Source.of(entry) for entry in body.pop("sourceObjects", None) or []]
        if not 1 <= len(sources) <= _MOST_COMPONENTS:
            message = f"The number of source components provided ({len(sources)}) must be from 1 to {_MOST_COMPONENTS}"
            raise ApiError(400, "invalid", message)
        fields = object_fields(body.pop("destination", None) or {})
        delete = body.pop("deleteSourceObjects", False)
        if body.keys() - {"kind"}:
            raise not_implemented(f"the field {min(body)!r} of a compose request")
        with ExitStack() as stack:
            opened = [self._open(stack, bucket, source) for source in sources]
            stored = self._objects.compose(opened, bucket, name, fields=fields, precondition=precondition(request))
        if delete:
            for source in {source.name for source in sources} - {name}:
                self._objects.delete(bucket, source)
        return self._resource(request, stored)

    def copy(self, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Mapping[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/copy ."""
        accept(request, "sourceGeneration", "destinationKmsKeyName")
        return self._resource(request, self._copy(request, bucket, name, to_bucket, to_name))

    def rewrite(self, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Mapping[str, Any]:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/rewrite ; always done in one go."""
        accept(request, "sourceGeneration", "destinationKmsKeyName", "maxBytesRewrittenPerCall")
        stored = self._copy(request, bucket, name, to_bucket, to_name)
        return {
            "kind": "storage#rewriteResponse",
            "done": True,
            "objectSize": str(stored.size),
            "totalBytesRewritten": str(stored.size),
            "resource": self._resource(request, stored),
        }

    def _change(self, request: Request, bucket: str, name: str, edit: Edit) -> Mapping[str, Any]:
        changed = self._objects.change(
            bucket, name, edit, generation=integer(request, "generation"), precondition=precondition(request)
        )
        return self._resource(request, changed)

    def _copy(self, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> StoredObject:
        body = json_body(request)
        source = self._objects.opened(bucket, name, generation=integer(request, "sourceGeneration"))
        with source.file:
            precondition(request, prefix="ifSource").check(source.stored)
            # Fields in the request replace the source's as a whole: the API page, "Request body".
            fields = object_fields(body) or None
            return self._objects.copy(source, to_bucket, to_name, fields=fields, precondition=precondition(request))

    def _open(self, stack: ExitStack, bucket: str, source: _Source) -> Opened:
        opened = self._objects.opened(bucket, source.name, generation=source.generation)
        stack.callback(opened.file.close)
        if source.must_be not in {None, opened.stored.generation}:
            raise PreconditionFailed
        return opened

    def _current(self, request: Request, stored: StoredObject) -> dict[str, Any] | None:
        """Return an object's resource even if another process replaces it while we read it; None if it is gone."""
        for _ in range(_TRIES):
            try:
                return self._resource(request, stored)
            except ObjectNotFound:
                found = self._objects.find(stored.bucket, stored.name)
                if found is None:
                    return None
                stored = found
        return object_resource(request, stored, None)

    def _resource(self, request: Request, stored: StoredObject) -> dict[str, Any]:
        checksums = self._objects.checksums(stored) if wants_checksums(request) else None
        return object_resource(request, stored, checksums)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One object that a compose request names."""

    name: str
    generation: int | None
    must_be: int | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Source:
        must_be = (entry.get("objectPreconditions") or {}).get("ifGenerationMatch")
        generation = entry.get("generation")
        return cls(
            name=str(entry.get("name")),
            generation=None if generation is None else int(generation),
            must_be=None if must_be is None else int(must_be),
        )


def _unmodified(request: Request, stored: StoredObject) -> Response | None:
    """Check what a read presupposes; return the answer if the reader has that object already.

    Contract: https://cloud.google.com/storage/docs/request-preconditions#when-the-precondition-fails

    Raises:
        PreconditionFailed: The object is another one.
    """
    presupposed = precondition(request)
    etag = object_etag(stored)
    if not presupposed.matches(stored) or not _names(request.headers.get("If-Match", "*"), etag):
        raise PreconditionFailed
    if not presupposed.differs(stored) or _names(request.headers.get("If-None-Match", ""), etag):
        return Response(status=304, headers={"ETag": etag})
    return None


def _names(header: str, etag: str) -> bool:
    return any(part.strip() in {"*", etag, f'"{etag}"'} for part in header.split(","))
