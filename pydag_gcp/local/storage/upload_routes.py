"""``storage.objects.insert``: simple, multipart and resumable uploads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.http import Api, ApiError, json_body
from pydag_gcp.local.storage.drafts import Draft, arrivals, blocks
from pydag_gcp.local.storage.multipart import Part, parts
from pydag_gcp.local.storage.objects import InvalidContent, InvalidName, Objects, StoredObject
from pydag_gcp.local.storage.resources import accept, object_fields, object_resource, precondition
from pydag_gcp.local.storage.stored import OCTETS
from pydag_gcp.local.storage.uploads import ContentRange, Target, Upload, Uploads

_PARAMETERS = ("contentEncoding", "kmsKeyName", "name", "uploadType", "upload_id")


class UploadRoutes:
    """The upload endpoint.

    Args:
        objects: What is written to.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._uploads = Uploads(objects.spool)

    def register(self, api: Api) -> None:
        """Add the routes."""
        rule = "/upload/storage/v1/b/<bucket>/o"
        api.route("storage.objects.insert", "POST", rule)(self.insert)
        api.route("storage.objects.insert", "PUT", rule)(self.resume)
        api.route("storage.objects.insert", "DELETE", rule)(self.cancel)

    def insert(self, request: Request, bucket: str) -> Mapping[str, Any] | Response:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/insert ."""
        accept(request, *_PARAMETERS)
        self._objects.bucket(bucket)
        match request.args.get("uploadType"):
            case "media":
                return self._insert_media(request, bucket)
            case "multipart":
                return self._insert_multipart(request, bucket)
            case "resumable":
                return self._start(request, bucket)
            case other:
                raise ApiError(400, "invalid", f"Invalid value '{other}' for parameter uploadType")

    def resume(self, request: Request, bucket: str) -> Mapping[str, Any] | Response:
        """https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload ."""
        accept(request, *_PARAMETERS)
        upload_id = request.args.get("upload_id", "")
        upload = self._uploads.get(upload_id)
        carried = ContentRange.parse(request.headers.get("Content-Range"))
        with upload.lock:
            if upload.done is not None:
                return upload.done
            if carried.start is not None and carried.start <= upload.draft.size:
                upload.extend(carried.start, arrivals(request.stream))
            total = carried.total
            if request.headers.get("Content-Range") is None:
                total = upload.draft.size
            if total is None or upload.draft.size < total:
                return _incomplete(upload)
            return self._finish(request, upload_id, upload, total)

    def cancel(self, request: Request, bucket: str) -> Response:
        """https://cloud.google.com/storage/docs/performing-resumable-uploads#cancel-upload ."""
        self._uploads.cancel(request.args.get("upload_id", ""))
        return Response(status="499 Client Closed Request")

    def _insert_media(self, request: Request, bucket: str) -> Mapping[str, Any]:
        fields = _fields(request, {}, request.headers.get("Content-Type"))
        return self._insert(request, _target(request, bucket, {}, fields), blocks(request.stream))

    def _insert_multipart(self, request: Request, bucket: str) -> Mapping[str, Any]:
        two = parts(request.stream, request.headers.get("Content-Type", ""))
        try:
            body = _json(next(two))
            media = next(two)
        except StopIteration:
            raise ApiError(400, "badRequest", "A multipart upload has two parts: JSON, then the contents") from None
        fields = _fields(request, body, media.headers.get("content-type"))
        return self._insert(request, _target(request, bucket, body, fields), media.chunks)

    def _insert(self, request: Request, target: Target, chunks: Iterable[bytes]) -> Mapping[str, Any]:
        target.precondition.check(self._objects.find(target.bucket, target.name))
        with self._objects.draft(chunks) as draft:
            _verify(draft, target.announced)
            return _resource(request, self._put(target, draft))

    def _start(self, request: Request, bucket: str) -> Response:
        body = json_body(request)
        fields = _fields(request, body, request.headers.get("X-Upload-Content-Type"))
        target = _target(request, bucket, body, fields)
        if (length := request.headers.get("X-Upload-Content-Length")) is not None:
            target = replace(target, announced={**target.announced, "size": length})
        target.precondition.check(self._objects.find(bucket, target.name))
        upload_id = self._uploads.start(target)
        location = f"{request.host_url}upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload_id}"
        return Response(headers={"Location": location, "X-GUploader-UploadID": upload_id})

    def _finish(self, request: Request, upload_id: str, upload: Upload, total: int) -> Mapping[str, Any]:
        if upload.draft.size > total:
            raise InvalidContent(f"The upload has {upload.draft.size} bytes, more than its declared {total}.")
        _verify(upload.draft, {**upload.target.announced, **_announced_hashes(request)})
        resource = _resource(request, self._put(upload.target, upload.draft))
        self._uploads.finish(upload_id, resource)
        return resource

    def _put(self, target: Target, draft: Draft) -> StoredObject:
        return self._objects.put(
            target.bucket, target.name, draft, fields=target.fields, precondition=target.precondition
        )


def _target(request: Request, bucket: str, body: Mapping[str, Any], fields: Mapping[str, Any]) -> Target:
    name = request.args.get("name", body.get("name"))
    if not name or not isinstance(name, str):
        raise InvalidName("Required parameter: name")
    announced = {key: str(body[key]) for key in ("md5Hash", "crc32c") if body.get(key)}
    return Target(
        bucket=bucket,
        name=name,
        fields=fields,
        precondition=precondition(request),
        announced={**announced, **_announced_hashes(request)},
    )


def _fields(request: Request, body: Mapping[str, Any], content_type: str | None) -> dict[str, Any]:
    fields = {"contentType": content_type or OCTETS} | object_fields(body)
    for name in ("contentEncoding", "kmsKeyName"):
        if name in request.args:
            fields[name] = request.args[name]
    return fields


def _announced_hashes(request: Request) -> dict[str, str]:
    """Return what the ``X-Goog-Hash`` header says, under the names of the API's resource."""
    hashes = {}
    for text in request.headers.get("X-Goog-Hash", "").split(","):
        kind, _, value = text.strip().partition("=")
        if kind in {"md5", "crc32c"}:
            hashes["md5Hash" if kind == "md5" else kind] = value
    return hashes


def _verify(draft: Draft, announced: Mapping[str, str]) -> None:
    """Compare the bytes that arrived with what was said of them.

    Raises:
        InvalidContent: They differ.
    """
    sums = draft.checksums
    for key, actual in (("crc32c", sums.crc32c), ("md5Hash", sums.md5), ("size", str(draft.size))):
        if (expected := announced.get(key, actual)) != actual:
            kind = {"crc32c": "CRC32C", "md5Hash": "MD5 hash", "size": "size"}[key]
            raise InvalidContent(f'Provided {kind} "{expected}" doesn\'t match calculated {kind} "{actual}".')


def _resource(request: Request, stored: StoredObject) -> dict[str, Any]:
    return object_resource(request, stored, stored.checksums)


def _incomplete(upload: Upload) -> Response:
    """Tell how far an upload has come."""
    response = Response(status="308 Resume Incomplete")
    if upload.draft.size:
        response.headers["Range"] = f"bytes=0-{upload.draft.size - 1}"
    return response


def _json(part: Part) -> dict[str, Any]:
    try:
        body = json.loads(b"".join(part.chunks))
    except ValueError as error:
        raise ApiError(400, "parseError", f"Parse Error: the first part is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "Parse Error: the first part is not a JSON object")
    return body
