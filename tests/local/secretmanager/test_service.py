"""Secret Manager's contract, held through Google's own client."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    ServiceUnavailable,
)
from google.cloud import secretmanager_v1
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from pydag_gcp.local import rpc
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.secretmanager.service import LARGEST_PAYLOAD, SecretManager

Client = secretmanager_v1.SecretManagerServiceClient
Payload = secretmanager_v1.SecretPayload
State = secretmanager_v1.SecretVersion.State

PARENT = "projects/p"
NAME = f"{PARENT}/secrets/db"
AUTOMATIC: Any = {"replication": {"automatic": {}}}
LIVES_A_MINUTE: Any = {**AUTOMATIC, "ttl": {"seconds": 60}}


@contextmanager
def serving(home: Path, faults: Faults | None = None) -> Iterator[Client]:
    """Google's client of a service whose secrets lie in a folder."""
    server, port = rpc.serve(SecretManager(home).handlers, "127.0.0.1", 0, faults)
    client = Client(transport=SecretManagerServiceGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}")))
    try:
        yield client
    finally:
        client.transport.close()
        server.stop(None).wait()


@pytest.fixture
def client(local_home: Path, faults: Faults) -> Iterator[Client]:
    with serving(local_home, faults) as client:
        yield client


@pytest.fixture
def secret(client: Client) -> secretmanager_v1.Secret:
    """A secret without versions."""
    return client.create_secret(parent=PARENT, secret_id="db", secret=AUTOMATIC)


def add(client: Client, data: bytes = b"hunter2-hunter2") -> secretmanager_v1.SecretVersion:
    return client.add_secret_version(parent=NAME, payload=Payload(data=data))


def access(client: Client, version: str = "latest") -> bytes:
    return client.access_secret_version(name=f"{NAME}/versions/{version}", retry=None).payload.data


def test_a_secret_has_its_full_name_and_no_version(client: Client, secret: secretmanager_v1.Secret) -> None:
    # https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets#Secret
    assert secret.name == NAME
    assert secret.create_time
    assert client.get_secret(name=NAME) == secret
    assert list(client.list_secret_versions(parent=NAME)) == []
    with pytest.raises(NotFound):
        access(client)


def test_labels_and_annotations_are_kept(client: Client) -> None:
    given: Any = {**AUTOMATIC, "labels": {"a": "b"}, "annotations": {"c": "d"}}
    made = client.create_secret(parent=PARENT, secret_id="labelled", secret=given)
    assert (dict(made.labels), dict(made.annotations)) == ({"a": "b"}, {"c": "d"})


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "x" * 256, "é"])
def test_an_id_has_at_most_255_letters_digits_and_marks(client: Client, name: str) -> None:
    # https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create#query-parameters
    with pytest.raises(InvalidArgument):
        client.create_secret(parent=PARENT, secret_id=name, secret=AUTOMATIC)


@pytest.mark.usefixtures("secret")
def test_an_id_that_is_taken_is_refused(client: Client) -> None:
    with pytest.raises(AlreadyExists):
        client.create_secret(parent=PARENT, secret_id="db", secret=AUTOMATIC)
    client.create_secret(parent=PARENT, secret_id="DB", secret=AUTOMATIC)


@pytest.mark.usefixtures("secret")
def test_versions_are_numbered_and_the_newest_is_latest(client: Client) -> None:
    # https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions#SecretVersion
    versions = [add(client, data) for data in (b"one", b"two")]
    assert [version.name for version in versions] == [f"{NAME}/versions/1", f"{NAME}/versions/2"]
    assert {version.state for version in versions} == {State.ENABLED}
    assert (access(client, "1"), access(client, "2"), access(client)) == (b"one", b"two", b"two")
    assert [version.name for version in client.list_secret_versions(parent=NAME)] == [
        f"{NAME}/versions/2",
        f"{NAME}/versions/1",
    ]


@pytest.mark.usefixtures("secret")
def test_an_answer_names_its_version_and_has_a_checksum(client: Client) -> None:
    # https://cloud.google.com/secret-manager/docs/data-integrity
    add(client, b"one")
    answer = client.access_secret_version(name=f"{NAME}/versions/latest", retry=None)
    assert answer.name == f"{NAME}/versions/1"
    assert answer.payload.data_crc32c == google_crc32c.value(b"one")


@pytest.mark.usefixtures("secret")
def test_a_checksum_that_does_not_fit_is_refused(client: Client) -> None:
    # https://cloud.google.com/secret-manager/docs/reference/rest/v1/SecretPayload
    with pytest.raises(InvalidArgument):
        client.add_secret_version(parent=NAME, payload=Payload(data=b"one", data_crc32c=1))
    checked = client.add_secret_version(
        parent=NAME, payload=Payload(data=b"one", data_crc32c=google_crc32c.value(b"one"))
    )
    assert checked.client_specified_payload_checksum
    assert checked.name.endswith("/versions/1")


@pytest.mark.usefixtures("secret")
def test_a_payload_has_at_most_64_kib(client: Client) -> None:
    # https://cloud.google.com/secret-manager/quotas#content_limits
    add(client, b"x" * LARGEST_PAYLOAD)
    with pytest.raises(InvalidArgument):
        add(client, b"x" * (LARGEST_PAYLOAD + 1))


@pytest.mark.usefixtures("secret")
def test_a_version_that_is_not_enabled_gives_nothing(client: Client) -> None:
    # https://cloud.google.com/secret-manager/docs/disable-secret-version
    add(client)
    disabled = client.disable_secret_version(name=f"{NAME}/versions/1")
    assert disabled.state == State.DISABLED
    with pytest.raises(FailedPrecondition, match=r"Secret Version \[.*/versions/1\] is in DISABLED state"):
        access(client)
    assert client.enable_secret_version(name=f"{NAME}/versions/1").state == State.ENABLED
    assert access(client) == b"hunter2-hunter2"


@pytest.mark.usefixtures("secret")
def test_a_destroyed_version_is_gone_for_good(client: Client, local_home: Path) -> None:
    # https://cloud.google.com/secret-manager/docs/destroy-secret-version
    add(client, b"one")
    add(client, b"two")
    destroyed = client.destroy_secret_version(name=f"{NAME}/versions/2")
    assert destroyed.state == State.DESTROYED
    assert destroyed.destroy_time
    for call in (client.enable_secret_version, client.disable_secret_version, client.access_secret_version):
        with pytest.raises(FailedPrecondition, match="is in DESTROYED state"):
            call(name=f"{NAME}/versions/2")
    assert "dHdv" not in "".join(file.read_text() for file in (local_home / "secretmanager").iterdir())
    # and its number is not used again
    assert add(client).name == f"{NAME}/versions/3"


@pytest.mark.usefixtures("secret")
def test_an_old_etag_is_refused(client: Client) -> None:
    # https://cloud.google.com/secret-manager/docs/etags
    old = add(client).etag
    new = client.enable_secret_version(request={"name": f"{NAME}/versions/1", "etag": old}).etag
    with pytest.raises(FailedPrecondition):
        client.disable_secret_version(request={"name": f"{NAME}/versions/1", "etag": old})
    client.disable_secret_version(request={"name": f"{NAME}/versions/1", "etag": new})
    with pytest.raises(FailedPrecondition):
        client.delete_secret(request={"name": NAME, "etag": '"0"'})


@pytest.mark.usefixtures("secret")
def test_a_deleted_secret_takes_its_versions_along(client: Client) -> None:
    add(client)
    client.delete_secret(name=NAME)
    with pytest.raises(NotFound):
        access(client, "1")
    client.create_secret(parent=PARENT, secret_id="db", secret=AUTOMATIC)
    assert add(client).name == f"{NAME}/versions/1"


def test_lists_are_paged_and_know_only_their_project(client: Client) -> None:
    # https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/list
    for parent, name in ((PARENT, "a"), (PARENT, "b"), ("projects/other", "c"), (PARENT, "d")):
        client.create_secret(parent=parent, secret_id=name, secret=AUTOMATIC)
    pages = list(client.list_secrets(request={"parent": PARENT, "page_size": 2}).pages)
    assert [[secret.name.rpartition("/")[2] for secret in page.secrets] for page in pages] == [["d", "b"], ["a"]]
    assert pages[0].total_size == 3


REFUSED: dict[str, tuple[type[GoogleAPICallError], Callable[[Client], object]]] = {
    "no replication": (InvalidArgument, lambda c: c.create_secret(parent=PARENT, secret_id="x", secret=None)),
    "a parent that is no project": (
        InvalidArgument,
        lambda c: c.create_secret(parent="folders/1", secret_id="x", secret=AUTOMATIC),
    ),
    "a name without a version": (InvalidArgument, lambda c: c.access_secret_version(name=NAME, retry=None)),
    "a version 0": (NotFound, lambda c: c.access_secret_version(name=f"{NAME}/versions/0", retry=None)),
    "an alias": (NotFound, lambda c: c.access_secret_version(name=f"{NAME}/versions/prod", retry=None)),
    "a secret that is not there": (NotFound, lambda c: c.get_secret(name=f"{PARENT}/secrets/none")),
    "a path out of the vault": (NotFound, lambda c: c.get_secret(name=f"{PARENT}/secrets/..")),
    "a filter": (MethodNotImplemented, lambda c: list(c.list_secrets(request={"parent": PARENT, "filter": "x"}))),
    "a lifetime": (
        MethodNotImplemented,
        lambda c: c.create_secret(parent=PARENT, secret_id="x", secret=LIVES_A_MINUTE),
    ),
    "a regional secret": (MethodNotImplemented, lambda c: c.get_secret(name="projects/p/locations/l/secrets/s")),
    "an update": (MethodNotImplemented, lambda c: c.update_secret(request={"secret": {"name": NAME}})),
    "a policy": (MethodNotImplemented, lambda c: c.get_iam_policy(request={"resource": NAME})),
}


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_or_not_offered_is_refused_by_name(client: Client, case: str) -> None:
    add(client)
    error, call = REFUSED[case]
    with pytest.raises(error):
        call(client)


def test_everything_is_there_again_after_a_restart(local_home: Path) -> None:
    with serving(local_home) as client:
        client.create_secret(parent=PARENT, secret_id="db", secret=AUTOMATIC)
        add(client, b"\x00\xff one")
        add(client, b"two")
        client.disable_secret_version(name=f"{NAME}/versions/2")
    with serving(local_home) as client:
        assert access(client, "1") == b"\x00\xff one"
        with pytest.raises(FailedPrecondition):
            access(client)


@pytest.mark.usefixtures("secret")
def test_only_the_owner_may_read_the_files(client: Client, local_home: Path) -> None:
    add(client)
    vault = local_home / "secretmanager"
    assert stat.S_IMODE(vault.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in vault.iterdir()} == {0o600}


@pytest.mark.usefixtures("secret")
def test_faults_happen_on_request(client: Client, faults: Faults) -> None:
    faults.add("secretmanager.AccessSecretVersion", kind="503")
    add(client)
    with pytest.raises(ServiceUnavailable):
        access(client)
    assert access(client) == b"hunter2-hunter2"
