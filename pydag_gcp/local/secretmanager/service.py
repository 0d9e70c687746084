"""The local Secret Manager service: https://cloud.google.com/secret-manager/docs/reference/rpc."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google_crc32c
from google.cloud import secretmanager_v1
from google.protobuf import empty_pb2

from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc.listing import page
from pydag_gcp.local.secretmanager.vault import Stored, Vault, Version

#: The most that a version holds, in bytes: https://cloud.google.com/secret-manager/quotas#content_limits
LARGEST_PAYLOAD = 64 * 1024
#: The most that a page holds: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/list
LARGEST_PAGE = 25000

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PROJECT = re.compile(r"projects/([^/]+)")
_SECRET = re.compile(r"projects/[^/]+/secrets/[^/]+")
_VERSION = re.compile(r"(?P<secret>projects/[^/]+/secrets/[^/]+)/versions/(?P<id>[^/]+)")

#: What a secret of the local cloud may say of itself.
_KEPT = frozenset(("name", "replication", "labels", "annotations", "create_time", "etag"))

_State = secretmanager_v1.SecretVersion.State


class SecretManager:
    """Everything of Secret Manager that lives in the daemon.

    Args:
        home: The local cloud's folder; secrets lie in its ``secretmanager``.
    """

    def __init__(self, home: Path) -> None:
        self._vault = Vault(home / "secretmanager")

    @property
    def handlers(self) -> tuple[rpc.Service, ...]:
        """The gRPC service, for :func:`pydag_gcp.local.rpc.serve`."""
        api, version = secretmanager_v1, secretmanager_v1.SecretVersion
        table: dict[str, tuple[Callable[[Any], Any], type, type]] = {
            "CreateSecret": (self._create, api.CreateSecretRequest, api.Secret),
            "GetSecret": (self._get, api.GetSecretRequest, api.Secret),
            "ListSecrets": (self._list, api.ListSecretsRequest, api.ListSecretsResponse),
            "DeleteSecret": (self._delete, api.DeleteSecretRequest, empty_pb2.Empty),
            "AddSecretVersion": (self._add_version, api.AddSecretVersionRequest, version),
            "GetSecretVersion": (self._get_version, api.GetSecretVersionRequest, version),
            "ListSecretVersions": (
                self._list_versions,
                api.ListSecretVersionsRequest,
                api.ListSecretVersionsResponse,
            ),
            "AccessSecretVersion": (
                self._access,
                api.AccessSecretVersionRequest,
                api.AccessSecretVersionResponse,
            ),
            "EnableSecretVersion": (self._enable, api.EnableSecretVersionRequest, version),
            "DisableSecretVersion": (self._disable, api.DisableSecretVersionRequest, version),
            "DestroySecretVersion": (self._destroy, api.DestroySecretVersionRequest, version),
        }
        methods = {
            name: rpc.Method(function=function, request=request, response=response)
            for name, (function, request, response) in table.items()
        }
        return (rpc.service("google.cloud.secretmanager.v1.SecretManagerService", "secretmanager", methods),)

    # secrets -----------------------------------------------------------------------------------------------------

    def _create(self, request: secretmanager_v1.CreateSecretRequest) -> secretmanager_v1.Secret:
        project = _named(_PROJECT, request.parent, "projects/*")
        if not _ID.fullmatch(request.secret_id):
            raise rpc.invalid_argument(
                f"secret_id '{request.secret_id}' is none: expected at most 255 letters, digits, _ and -"
            )
        given = request.secret
        for field in sorted(type(given).meta.fields.keys() - _KEPT):
            if field in given and getattr(given, field):
                raise rpc.unimplemented(f"The local cloud has no secrets with '{field}'")
        if "replication" not in given or not type(given.replication).pb(given.replication).WhichOneof("replication"):
            raise rpc.invalid_argument("secret.replication must be set: automatic or user_managed")
        name = f"{project[0]}/secrets/{request.secret_id}"
        with self._vault.lock:
            if self._vault.get(name) is not None:
                raise rpc.already_exists(f"Secret [{name}] already exists.")
            secret = secretmanager_v1.Secret(given)
            secret.name, secret.create_time, secret.etag = name, _now(), _etag()
            self._vault.put(Stored(message=secret))
        return secret

    def _get(self, request: secretmanager_v1.GetSecretRequest) -> secretmanager_v1.Secret:
        return self._stored(request.name).message

    def _list(self, request: secretmanager_v1.ListSecretsRequest) -> secretmanager_v1.ListSecretsResponse:
        project = _named(_PROJECT, request.parent, "projects/*")
        _unfiltered(request.filter)
        found = [each.message for each in self._vault.all() if each.message.name.startswith(f"{project[0]}/secrets/")]
        part, token = page(found, size=_size(request.page_size), token=request.page_token)
        return secretmanager_v1.ListSecretsResponse(secrets=part, next_page_token=token, total_size=len(found))

    def _delete(self, request: secretmanager_v1.DeleteSecretRequest) -> empty_pb2.Empty:
        with self._vault.lock:
            _same(request.etag, self._stored(request.name).message.etag)
            self._vault.remove(request.name)
        return empty_pb2.Empty()

    def _stored(self, name: str) -> Stored:
        _named(_SECRET, name, "projects/*/secrets/*")
        found = self._vault.get(name)
        if found is None:
            raise rpc.not_found(f"Secret [{name}] not found.")
        return found

    # versions ----------------------------------------------------------------------------------------------------

    def _add_version(self, request: secretmanager_v1.AddSecretVersionRequest) -> secretmanager_v1.SecretVersion:
        data = request.payload.data
        if len(data) > LARGEST_PAYLOAD:
            raise rpc.invalid_argument(f"Secret payload of {len(data)} bytes is larger than {LARGEST_PAYLOAD}.")
        checked = "data_crc32c" in request.payload
        if checked and request.payload.data_crc32c != google_crc32c.value(data):
            raise rpc.invalid_argument("The checksum data_crc32c does not match the payload.")
        with self._vault.lock:
            stored = self._stored(request.parent)
            version = secretmanager_v1.SecretVersion(
                name=f"{request.parent}/versions/{len(stored.versions) + 1}",
                create_time=_now(),
                state=_State.ENABLED,
                etag=_etag(),
                client_specified_payload_checksum=checked,
            )
            stored.versions.append(Version(message=version, payload=data))
            self._vault.put(stored)
        return version

    def _get_version(self, request: secretmanager_v1.GetSecretVersionRequest) -> secretmanager_v1.SecretVersion:
        return self._version(request.name)[1].message

    def _list_versions(
        self, request: secretmanager_v1.ListSecretVersionsRequest
    ) -> secretmanager_v1.ListSecretVersionsResponse:
        _unfiltered(request.filter)
        found = [version.message for version in reversed(self._stored(request.parent).versions)]
        part, token = page(found, size=_size(request.page_size), token=request.page_token)
        return secretmanager_v1.ListSecretVersionsResponse(versions=part, next_page_token=token, total_size=len(found))

    def _access(
        self, request: secretmanager_v1.AccessSecretVersionRequest
    ) -> secretmanager_v1.AccessSecretVersionResponse:
        version = self._version(request.name)[1]
        if version.message.state != _State.ENABLED:
            raise _wrong_state(version)
        checksum = google_crc32c.value(version.payload)
        return secretmanager_v1.AccessSecretVersionResponse(
            name=version.message.name,
            payload=secretmanager_v1.SecretPayload(data=version.payload, data_crc32c=checksum),
        )

    def _enable(self, request: secretmanager_v1.EnableSecretVersionRequest) -> secretmanager_v1.SecretVersion:
        return self._change(request.name, request.etag, _State.ENABLED)

    def _disable(self, request: secretmanager_v1.DisableSecretVersionRequest) -> secretmanager_v1.SecretVersion:
        return self._change(request.name, request.etag, _State.DISABLED)

    def _destroy(self, request: secretmanager_v1.DestroySecretVersionRequest) -> secretmanager_v1.SecretVersion:
        return self._change(request.name, request.etag, _State.DESTROYED)

    def _change(self, name: str, etag: str, state: int) -> secretmanager_v1.SecretVersion:
        with self._vault.lock:
            stored, version = self._version(name)
            _same(etag, version.message.etag)
            if version.message.state == _State.DESTROYED:  # for good:
                # https://cloud.google.com/secret-manager/docs/destroy-secret-version
                raise _wrong_state(version)
            version.message.state = _State(state)
            version.message.etag = _etag()
            if state == _State.DESTROYED:
                version.payload = b""
                version.message.destroy_time = _now()
            self._vault.put(stored)
            return version.message

    def _version(self, name: str) -> tuple[Stored, Version]:
        parts = _named(_VERSION, name, "projects/*/secrets/*/versions/*")
        stored, number = self._stored(parts["secret"]), parts["id"]
        if number == "latest" and stored.versions:
            return stored, stored.versions[-1]
        if number.isdecimal() and 1 <= int(number) <= len(stored.versions):
            return stored, stored.versions[int(number) - 1]
        if number == "latest":
            raise rpc.not_found(f"Secret [{parts['secret']}] not found or has no versions.")
        raise rpc.not_found(f"Secret Version [{name}] not found.")


def _named(pattern: re.Pattern[str], name: str, expected: str) -> re.Match[str]:
    found = pattern.fullmatch(name)
    if found is None and re.match(r"projects/[^/]+/locations/", name):
        raise rpc.unimplemented("The local cloud has no regional secrets")
    if found is None:
        raise rpc.invalid_argument(f"The name '{name}' does not match {expected}.")
    return found


def _unfiltered(text: str) -> None:
    if text:
        raise rpc.unimplemented("The local cloud does not filter secrets")


def _size(asked: int) -> int:
    return min(asked, LARGEST_PAGE) if asked else LARGEST_PAGE


def _now() -> Any:  # messages take a datetime where they give back a timestamp
    return datetime.now(UTC)


def _etag() -> str:
    return f'"{secrets.token_hex(7)}"'


def _same(given: str, stored: str) -> None:
    """https://cloud.google.com/secret-manager/docs/etags."""
    if given and given != stored:
        raise rpc.failed_precondition(f"The etag {given} does not match {stored}.")


def _wrong_state(version: Version) -> rpc.RpcError:
    return rpc.failed_precondition(f"Secret Version [{version.message.name}] is in {version.message.state.name} state.")
