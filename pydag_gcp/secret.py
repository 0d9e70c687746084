"""Secrets by reference: a definition names where a value lies, and only a running task ever holds it.

``env:NAME`` is a variable of the process that runs the pipeline; ``sm:NAME`` the newest version of a secret of the
target's project in Secret Manager, on the local target in the local cloud's.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pydag_gcp.errors import DefinitionError, NotYet, TaskError, did_you_mean
from pydag_gcp.redaction import SHORTEST, learn
from pydag_gcp.retry import is_transient
from pydag_gcp.runtime_value import RuntimeValue
from pydag_gcp.source import calling_line

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.secretmanager_v1 import AccessSecretVersionResponse

    from pydag_gcp.context import Context
    from pydag_gcp.gcp import Clients, Target

#: Seconds for which Secret Manager is asked again while it does not answer.
PATIENCE = 30.0
#: Seconds that one call may take.
_CALL_TIMEOUT = 10.0

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create#query-parameters
_NAME = r"[A-Za-z0-9_-]{1,255}"
_SHORT = re.compile(_NAME)
# https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access#path-parameters
_FULL = re.compile(rf"projects/[a-z0-9.:-]+/secrets/{_NAME}(?P<version>/versions/(?:[1-9][0-9]*|latest))?")
_EXPECTED = "'env:NAME', 'sm:NAME' or 'sm:projects/P/secrets/NAME/versions/5'"


@dataclass(frozen=True, init=False)
class Secret(RuntimeValue):
    """A value that is looked up when the task starts, and masked wherever it would be written down.

    ``Secret("env:NAME")``, ``Secret("sm:NAME")`` or ``Secret("sm:projects/P/secrets/NAME/versions/5")``.

    Attributes:
        reference: Where the value lies.

    Raises:
        DefinitionError: That is no such reference.
    """

    reference: str

    def __init__(self, reference: str) -> None:
        try:
            check_reference(reference)
        except DefinitionError as error:
            raise DefinitionError(error.what, where=calling_line().place(), hint=error.hint) from None
        object.__setattr__(self, "reference", reference)

    def resolve(self, ctx: Context) -> str:
        """Return the value."""
        return ctx.secret(self.reference)

    def to_json(self) -> dict[str, str]:
        """The reference, as YAML has it; never the value."""
        return {"secret": self.reference}

    def __str__(self) -> NoReturn:  # or the reference would get into a text in silence
        what = f"secret {self.reference!r} is not known before its task runs"
        hint = "pass it as an argument instead of writing it into text"
        raise DefinitionError(what, where=calling_line().place(), hint=hint)


def check_reference(reference: object) -> None:
    """Make sure that a text says where a secret lies.

    Raises:
        DefinitionError: It does not; without a place.
    """
    kind, _, name = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    good = {"env": _VARIABLE.fullmatch(name), "sm": _SHORT.fullmatch(name) or _FULL.fullmatch(name)}.get(kind)
    if not good:
        # What stands there may be the secret itself, so it is not repeated.
        hint = did_you_mean(kind.lower(), ["env", "sm"]) if len(kind) <= 4 else None
        raise DefinitionError(f"a secret is named by {_EXPECTED}", hint=hint or "name the place, never the value")


class Secrets:
    """The secrets of one run: each is looked up once. For all threads.

    Args:
        clients: Reach Secret Manager when the first secret of it is needed.
        environ: Where ``env:`` looks.
        sleep: Waits between two calls, in seconds.
    """

    def __init__(
        self,
        clients: Clients,
        environ: Mapping[str, str] = os.environ,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clients = clients
        self._environ = environ
        self._sleep = sleep
        self._values: dict[str, str] = {}
        self._turns: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def check(self, reference: str) -> None:
        """Make sure, before anything runs, that a variable is there. Asks no service, so ``sm:`` is left for later.

        Raises:
            DefinitionError: It is missing, or too short; without a place.
        """
        if reference.startswith("env:"):
            try:
                self.value(reference)
            except TaskError as error:
                raise DefinitionError(error.what, hint=error.hint) from None

    def value(self, reference: str) -> str:
        """Look up a secret; from now on it is masked in everything that this process writes.

        Raises:
            TaskError: It is missing, may not be read, is no text or too short; names the reference.
            NotYet: Secret Manager has not answered for half a minute.
        """
        with self._lock:
            turn = self._turns.setdefault(reference, threading.Lock())
        with turn:
            if reference not in self._values:
                self._values[reference] = self._revealed(reference)
            return self._values[reference]

    def _revealed(self, reference: str) -> str:
        check_reference(reference)
        kind, _, name = reference.partition(":")
        value = self._variable(name) if kind == "env" else self._stored(name)
        if len(value.strip()) < SHORTEST:
            what = f"secret {reference!r} has fewer than {SHORTEST} characters, so it could not be kept out of messages"
            raise TaskError(what, hint="choose a longer one, or pass it as a plain value if it is none")
        learn(value)
        return value

    def _variable(self, name: str) -> str:
        value = self._environ.get(name)
        if value is None:
            hint = did_you_mean(name, self._environ) or f"set the variable {name} where the pipeline runs"
            raise TaskError(f"no secret 'env:{name}': the variable {name} is not set", hint=hint)
        return value

    def _stored(self, name: str) -> str:
        answer = self._asked(name)
        try:
            return answer.payload.data.decode()
        except UnicodeDecodeError:
            hint = "store it as text, for instance in base64"
            raise TaskError(f"secret 'sm:{name}' is no UTF-8 text", hint=hint) from None

    def _asked(self, name: str) -> AccessSecretVersionResponse:
        """Ask until there is an answer; only after a transient error another one is to be hoped for."""
        import tenacity
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            stop=tenacity.stop_after_delay(PATIENCE),
            wait=tenacity.wait_exponential(multiplier=0.2, max=5),
            sleep=self._sleep,
            before_sleep=lambda _: self._clients.revive(),  # the local cloud may have died since it was reached
            reraise=True,
        )
        try:
            return again(self._access, name)
        except (GoogleAPIError, GoogleAuthError) as error:
            what = f"secret 'sm:{name}' cannot be looked up: {_said(error)}"
            raise (NotYet if is_transient(error) else TaskError)(what) from error

    def _access(self, name: str) -> AccessSecretVersionResponse:
        """Make one call: https://cloud.google.com/secret-manager/docs/access-secret-version."""
        from google.api_core.exceptions import GoogleAPICallError

        target = self._clients.target
        path = version_name(name, target.project)
        try:
            answer = self._clients.secrets().access_secret_version(name=path, retry=None, timeout=_CALL_TIMEOUT)
        except GoogleAPICallError as error:
            if is_transient(error):
                raise
            raise TaskError(f"no secret 'sm:{name}': {_said(error)}", hint=_hint(error, path, target)) from error
        if not _is_intact(answer):
            raise TaskError(f"secret 'sm:{name}' arrived damaged", transient=True)
        return answer


def version_name(name: str, project: str) -> str:
    """Write out the version that ``sm:name`` means: by default the newest, in the target's project."""
    full = name if "/" in name else f"projects/{project}/secrets/{name}"
    return full if "/versions/" in full else f"{full}/versions/latest"


def _is_intact(answer: AccessSecretVersionResponse) -> bool:
    """https://cloud.google.com/secret-manager/docs/data-integrity."""
    import google_crc32c

    payload = answer.payload
    return "data_crc32c" not in payload or payload.data_crc32c == google_crc32c.value(payload.data)


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", None) or error).split())


def _hint(error: GoogleAPICallError, path: str, target: Target) -> str | None:
    from google.api_core.exceptions import FailedPrecondition, Forbidden, NotFound, Unauthenticated

    secret = path.rpartition("/secrets/")[2].partition("/")[0]
    match error:
        case NotFound() if target.is_local:
            return f"store it with `pydag local secret set {secret}`"
        case NotFound():
            return f"store it with `gcloud secrets create {secret} --data-file=- --project={path.split('/')[1]}`"
        case Forbidden():
            return "grant the account that runs this the role roles/secretmanager.secretAccessor"
        case Unauthenticated():
            return "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
        case FailedPrecondition():
            return "enable that version, add another one, or name one by its number"
    return None
