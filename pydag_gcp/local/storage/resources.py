"""Cloud Storage's JSON resources and parameters: what is read from a request, and what is written to an answer."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request

from pydag_gcp.local.http import ApiError, not_implemented
from pydag_gcp.local.storage.drafts import Checksums
from pydag_gcp.local.storage.multipart import MalformedBody
from pydag_gcp.local.storage.objects import (
    Bucket,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    InvalidContent,
    InvalidName,
    ObjectNotFound,
    Precondition,
    PreconditionFailed,
    StoredObject,
)
from pydag_gcp.local.storage.stored import Fields
from pydag_gcp.local.storage.uploads import MalformedRange, UploadNotFound

#: https://cloud.google.com/storage/docs/json_api/v1/objects#resource-representations
_OBJECT_TEXTS = frozenset(
    {
        "cacheControl",
        "contentDisposition",
        "contentEncoding",
        "contentLanguage",
        "contentType",
        "customTime",
        "kmsKeyName",
        "storageClass",
    }
)
#: What only the service sets; whoever sends it back has read it from us.
_OBJECT_OUTPUT = frozenset(
    {
        "acl",
        "bucket",
        "componentCount",
        "crc32c",
        "etag",
        "generation",
        "id",
        "kind",
        "md5Hash",
        "mediaLink",
        "metageneration",
        "name",
        "owner",
        "selfLink",
        "size",
        "timeCreated",
        "timeFinalized",
        "timeStorageClassUpdated",
        "updated",
    }
)
#: https://cloud.google.com/storage/docs/json_api/v1/buckets#resource-representations ; lifecycle rules count days, and
#: Cloud Storage promises no moment at which it follows them.
_BUCKET_FIELDS = frozenset(
    {
        "autoclass",
        "cors",
        "iamConfiguration",
        "labels",
        "lifecycle",
        "location",
        "rpo",
        "softDeletePolicy",
        "storageClass",
        "website",
    }
)
_BUCKET_OUTPUT = frozenset(
    {
        "acl",
        "defaultObjectAcl",
        "etag",
        "generation",
        "id",
        "kind",
        "locationType",
        "metageneration",
        "name",
        "owner",
        "projectNumber",
        "selfLink",
        "timeCreated",
        "updated",
    }
)
#: Parameters that mean nothing here: who pays, who may, and how the answer is printed.
_IGNORED_PARAMETERS = frozenset(
    {
        "$.xgafv",
        "access_token",
        "alt",
        "destinationPredefinedAcl",
        "enableObjectRetention",
        "fields",
        "key",
        "predefinedAcl",
        "predefinedDefaultObjectAcl",
        "prettyPrint",
        "project",
        "projection",
        "quotaUser",
        "userProject",
    }
)
_ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    BucketExists: (409, "conflict"),
    BucketNotEmpty: (409, "conflict"),
    BucketNotFound: (404, "notFound"),
    InvalidContent: (400, "invalid"),
    InvalidName: (400, "invalid"),
    MalformedBody: (400, "badRequest"),
    MalformedRange: (400, "invalid"),
    ObjectNotFound: (404, "notFound"),
    UploadNotFound: (404, "notFound"),
}


def error(cause: Exception) -> ApiError | None:
    """Return the answer to what went wrong: https://cloud.google.com/storage/docs/json_api/v1/status-codes ."""
    if isinstance(cause, PreconditionFailed):
        return ApiError(412, "conditionNotMet", str(cause), location="If-Match", location_type="header")
    if type(cause) not in _ERRORS:
        return None
    status, reason = _ERRORS[type(cause)]
    return ApiError(status, reason, str(cause))


def bucket_resource(request: Request, bucket: Bucket) -> dict[str, Any]:
    """Return a bucket as the API shows it."""
    return {
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        **bucket.fields,
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "selfLink": f"{request.host_url}storage/v1/b/{bucket.name}",
        "projectNumber": "0",
        "metageneration": str(bucket.metageneration),
        "etag": _etag(bucket.metageneration),
        "timeCreated": _time(bucket.created_ns),
        "updated": _time(bucket.updated_ns),
    }


def object_resource(request: Request, stored: StoredObject, checksums: Checksums | None) -> dict[str, Any]:
    """Return an object as the API shows it.

    Args:
        request: What is being answered; links lead back to where it was sent.
        stored: The object.
        checksums: None if nobody asked for them.
    """
    path = f"b/{stored.bucket}/o/{quote(stored.name, safe='')}"
    resource = {
        "contentType": stored.content_type,
        "storageClass": "STANDARD",
        **stored.fields,
        "kind": "storage#object",
        "id": f"{stored.bucket}/{stored.name}/{stored.generation}",
        "selfLink": f"{request.host_url}storage/v1/{path}",
        "mediaLink": f"{request.host_url}download/storage/v1/{path}?generation={stored.generation}&alt=media",
        "name": stored.name,
        "bucket": stored.bucket,
        "generation": str(stored.generation),
        "metageneration": str(stored.metageneration),
        "size": str(stored.size),
        "etag": object_etag(stored),
        "timeCreated": _time(stored.created_ns),
        "timeFinalized": _time(stored.created_ns),
        "timeStorageClassUpdated": _time(stored.created_ns),
        "updated": _time(stored.updated_ns),
    }
    if checksums is not None:
        resource["crc32c"] = checksums.crc32c
        if "componentCount" not in stored.fields:  # composite objects have no MD5 in Cloud Storage
            resource["md5Hash"] = checksums.md5
    return resource


def wants_checksums(request: Request) -> bool:
    """Tell whether the answer is to carry checksums: not if ``fields`` names only others."""
    fields = request.args.get("fields")
    if not fields:
        return True
    return re.search(r"md5Hash|crc32c|\*|\b(?:items|resource)(?![(/\w])", fields) is not None


def object_etag(stored: StoredObject) -> str:
    """Return an object's etag."""
    return _etag(stored.generation, stored.metageneration)


def object_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of an object's resource that its author sets.

    Raises:
        ApiError: One is not implemented, or not of its type.
    """
    fields: dict[str, Any] = {}
    for key, value in body.items():
        if key in _OBJECT_OUTPUT or value is None:
            continue
        if key == "metadata":
            fields[key] = _metadata(value)
        elif key in _OBJECT_TEXTS:
            fields[key] = _text(key, value)
        elif value:
            raise not_implemented(f"the field {key!r} of an object")
    return fields


def patched_object(fields: Fields, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's fields after a patch: null removes one, and ``metadata`` is patched key by key.

    Raises:
        ApiError: A field is not implemented, or not of its type.
    """
    patched = {key: value for key, value in fields.items() if key not in body} | object_fields(
        {key: value for key, value in body.items() if key != "metadata"}
    )
    if (change := body.get("metadata")) is not None:
        kept = {key: value for key, value in fields.get("metadata", {}).items() if key not in change}
        patched["metadata"] = kept | _metadata({key: value for key, value in change.items() if value is not None})
    return patched


def updated_object(fields: Fields, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's fields after an update, which replaces all that its author sets.

    Raises:
        ApiError: A field is not implemented, or not of its type.
    """
    kept = {key: value for key, value in fields.items() if key in _OBJECT_OUTPUT}
    return kept | object_fields(body)


def bucket_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a bucket's resource that its author sets.

    Raises:
        ApiError: One is not implemented.
    """
    fields: dict[str, Any] = {}
    for key, value in body.items():
        if key in _BUCKET_OUTPUT or value is None:
            continue
        if key in _BUCKET_FIELDS:
            fields[key] = value.upper() if key == "location" else value
        elif not _is_off(value):
            raise not_implemented(f"the field {key!r} of a bucket")
    return fields


def patched_bucket(fields: Fields, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bucket's fields after a patch: null removes one, and ``labels`` is patched key by key.

    Raises:
        ApiError: A field is not implemented.
    """
    patched = {key: value for key, value in fields.items() if key not in body} | bucket_fields(body)
    if (change := body.get("labels")) is not None:
        labels = fields.get("labels", {}) | change
        patched["labels"] = {key: value for key, value in labels.items() if value is not None}
    return patched


def updated_bucket(fields: Fields, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bucket's fields after an update, which replaces all but its location.

    Raises:
        ApiError: A field is not implemented.
    """
    return bucket_fields({"location": fields.get("location"), **body})


def precondition(request: Request, *, prefix: str = "if") -> Precondition:
    """Return what a request presupposes.

    Args:
        request: The request.
        prefix: How its parameters begin: ``if``, or ``ifSource``.

    Raises:
        ApiError: A parameter is no number, or the condition is stated in a header that is not implemented.
    """
    return Precondition(
        generation=integer(request, f"{prefix}GenerationMatch"),
        not_generation=integer(request, f"{prefix}GenerationNotMatch"),
        metageneration=integer(request, f"{prefix}MetagenerationMatch"),
        not_metageneration=integer(request, f"{prefix}MetagenerationNotMatch"),
    )


def integer(request: Request, name: str) -> int | None:
    """Return a parameter that is a number, or None if it is not given.

    Raises:
        ApiError: It is no number.
    """
    text = request.args.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        message = f"Invalid value '{text}' for parameter {name}: expected an integer"
        raise ApiError(400, "invalid", message, location=name, location_type="parameter") from None


def accept(request: Request, *known: str) -> None:
    """Check that a request asks for nothing that is not implemented.

    Args:
        request: The request.
        known: The parameters that are; preconditions and those that mean nothing here need not be named.

    Raises:
        ApiError: A parameter, or a customer's encryption key, is not implemented.
    """
    for name in request.args:
        condition = re.fullmatch(r"if(Source)?(Meta)?[gG]eneration(Not)?Match", name)
        if name not in known and name not in _IGNORED_PARAMETERS and not condition:
            raise not_implemented(f"the parameter {name!r} of {request.method} {request.path}")
    for header, _ in request.headers:
        if header.lower().startswith(("x-goog-encryption-", "x-goog-copy-source-encryption-")):
            raise not_implemented("encryption keys that customers supply (the header X-Goog-Encryption-Key)")


def _etag(*numbers: int) -> str:
    return base64.b64encode("/".join(map(str, numbers)).encode()).decode()


def _time(nanoseconds: int) -> str:
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1_000_000 % 1000:03d}Z"


def _is_off(value: object) -> bool:
    """Tell whether a setting is empty, or an object that switches off (``{"enabled": false}``)."""
    return not value or (isinstance(value, Mapping) and all(_is_off(part) for part in value.values()))


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ApiError(400, "invalid", f"Invalid value for field {key}: expected a string, got {value!r}")
    return value


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for part in value.values()):
        raise ApiError(400, "invalid", "Invalid value for field metadata: expected an object whose values are strings")
    return dict(value)
