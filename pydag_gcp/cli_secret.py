"""``pydag local secret``: what the local cloud's Secret Manager holds. Values come in, and never go out."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pydag_gcp.errors import LocalCloudError, SettingsError, did_you_mean_one_of

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

#: Seconds that one call may take.
_TIMEOUT = 30.0


def _name(_ctx: click.Context, _argument: click.Parameter, given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", given):
        raise click.BadParameter(f"expected at most 255 letters, digits, _ and -, got {given!r}")
    return given


_NAME = click.argument("name", callback=_name)


@click.group(short_help="Store, list and delete secrets of the local cloud.")
def secret() -> None:
    """Secrets of the local cloud, which pipelines name as sm:NAME."""


@secret.command("set")
@_NAME
@click.argument("words", nargs=-1, metavar="")
def set_(name: str, words: tuple[str, ...]) -> int:
    """Store a value, read from stdin or asked for; a secret that is there gets a new version.

    One line break at the end of what is piped in is dropped.
    """
    if words:  # not repeated: the value may be among them
        raise click.UsageError(
            "the value is no argument, where other users and the shell's history would see it; "
            f"pipe it in: pydag local secret set {name} < FILE"
        )
    value = _value()
    with _secrets() as (client, parent):
        made = _store(client, parent, name, value)
    click.echo(f"secret {name}: stored version {made.rpartition('/')[2]}; name it as sm:{name}")
    return 0


@secret.command("list")
def list_() -> int:
    """List the names of the secrets, and how many versions each has."""
    with _secrets() as (client, parent):
        names = sorted(found.name for found in client.list_secrets(parent=parent, timeout=_TIMEOUT))
        for full in names:
            count = client.list_secret_versions(parent=full, timeout=_TIMEOUT).total_size
            click.echo(f"{full.rpartition('/')[2]}  {count} version{'s' * (count != 1)}")
    return 0


@secret.command()
@_NAME
def delete(name: str) -> int:
    """Delete a secret with all its versions."""
    from google.api_core.exceptions import NotFound

    with _secrets() as (client, parent):
        try:
            client.delete_secret(name=f"{parent}/secrets/{name}", timeout=_TIMEOUT)
        except NotFound:
            known = [found.name.rpartition("/")[2] for found in client.list_secrets(parent=parent, timeout=_TIMEOUT)]
            hint = did_you_mean_one_of(name, sorted(known))
            raise SettingsError(f"no secret {name!r} in the local cloud", hint=hint) from None
    click.echo(f"secret {name}: deleted")
    return 0


def _value() -> bytes:
    """Read the value from stdin, or ask whoever sits there for it."""
    from pydag_gcp.redaction import SHORTEST

    if sys.stdin.isatty():
        data = click.prompt("value", hide_input=True, confirmation_prompt=True, err=True).encode()
    else:
        data = sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
    if len(data.strip()) < SHORTEST:
        what = f"a secret has at least {SHORTEST} characters: a shorter one could not be kept out of messages"
        raise SettingsError(what, hint="pipe the value in, or type it when asked")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise SettingsError("a secret is UTF-8 text", hint="encode it, for instance with base64") from None
    return bytes(data)


def _store(client: SecretManagerServiceClient, parent: str, name: str, value: bytes) -> str:
    """Add a version; return its full name."""
    import google_crc32c
    from google.api_core.exceptions import AlreadyExists
    from google.cloud.secretmanager_v1 import Replication, Secret, SecretPayload

    wanted = Secret(replication=Replication(automatic=Replication.Automatic()))
    with contextlib.suppress(AlreadyExists):
        client.create_secret(parent=parent, secret_id=name, secret=wanted, timeout=_TIMEOUT)
    payload = SecretPayload(data=value, data_crc32c=google_crc32c.value(value))
    added = client.add_secret_version(parent=f"{parent}/secrets/{name}", payload=payload, timeout=_TIMEOUT)
    return str(added.name)


@contextlib.contextmanager
def _secrets() -> Iterator[tuple[SecretManagerServiceClient, str]]:
    """The client of the local Secret Manager, which is started if need be, and the project's name there.

    Raises:
        LocalCloudError: It cannot be started, or refused a call.
    """
    from google.api_core.exceptions import GoogleAPICallError, InvalidArgument

    from pydag_gcp import settings
    from pydag_gcp.gcp import Clients

    target = settings.load().target(settings.LOCAL)
    with contextlib.closing(Clients(target)) as clients:
        try:
            yield clients.secrets(), f"projects/{target.project}"
        except InvalidArgument as error:
            raise SettingsError(f"Secret Manager refused: {error.message}") from error
        except GoogleAPICallError as error:
            raise LocalCloudError(f"Secret Manager refused: {error.message}") from error
