"""Secrets: named in definitions, looked up once, refused where they would be seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from pydag_gcp import DAG, Cluster, Operator, Param, Secret, settings
from pydag_gcp.errors import DefinitionError, NotYet, TaskError
from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.local import rpc
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.secretmanager.service import SecretManager
from pydag_gcp.operators import BigQueryQuery, DataprocPySparkJob
from pydag_gcp.planner import plan
from pydag_gcp.redaction import Redactor
from pydag_gcp.secret import Secrets

VALUE = "hunter2-hunter2"


class Login(Operator):
    """Uses a secret."""

    password: Param[str]
    others: Param[dict[str, list[str]]] = Field(default={})

    def execute(self, ctx: object) -> None: ...


@dataclass
class World:
    """Secret Manager, and the secrets of a run that ask it."""

    clients: Clients
    faults: Faults
    slept: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return self.faults.calls().get("secretmanager.AccessSecretVersion", 0)

    def secrets(self, **environ: str) -> Secrets:
        return Secrets(self.clients, environ, sleep=self.slept.append)

    def store(self, name: str, value: bytes, project: str = "acme-1") -> None:
        client, parent = self.clients.secrets(), f"projects/{project}"
        automatic: Any = {"replication": {"automatic": {}}}
        if all(found.name != f"{parent}/secrets/{name}" for found in client.list_secrets(parent=parent)):
            client.create_secret(parent=parent, secret_id=name, secret=automatic)
        payload: Any = {"data": value}
        client.add_secret_version(parent=f"{parent}/secrets/{name}", payload=payload)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    faults = Faults()
    server, port = rpc.serve(SecretManager(tmp_path).handlers, "127.0.0.1", 0, faults)
    address = f"127.0.0.1:{port}"
    endpoints = Endpoints(bigquery="http://127.0.0.1:1", storage="http://127.0.0.1:1", dataproc=address)
    clients = Clients(Target(name="local", project="acme-1", endpoints=endpoints))
    yield World(clients, faults)
    clients.close()
    server.stop(None).wait()


# references -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference", ["env:A", "env:_db_1", "sm:db", "sm:DB-1_x", "sm:projects/p-1/secrets/db/versions/5",
                  "sm:projects/p-1/secrets/db", "sm:projects/example.com:p/secrets/db/versions/latest"]
)  # fmt: skip
def test_a_reference_says_where_a_value_lies(reference: str) -> None:
    secret = Secret(reference)
    assert secret == Secret(reference)
    assert hash(secret) == hash(Secret(reference))
    assert secret.to_json() == {"secret": reference}
    assert reference in repr(secret)


@pytest.mark.parametrize(
    "reference", ["", "hunter2", "env:", "env:A B", "env:A=b", "env:1A", "sm:", "sm:a/b", "sm:a b", "sm:../x", "ENV:A",
                  "env: A", "sm:projects/p/secrets/db/versions/0", "sm:projects/p/secrets/db/versions/x/y", "sm:db\n",
                  "sm:projects/P/locations/eu/secrets/x", "vault:a", "postgres://ann:hunter2@host/db", None, 7]
)  # fmt: skip
def test_what_is_no_reference_is_refused_and_not_repeated(reference: Any) -> None:
    with pytest.raises(DefinitionError, match="a secret is named by 'env:NAME', 'sm:NAME'") as refused:
        Secret(reference)
    assert str(refused.value).startswith(f"{__file__}:")
    assert "hunter2" not in str(refused.value)


def test_a_wrong_kind_is_corrected() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'env'"):
        Secret("evn:A")


def test_a_secret_does_not_become_text_by_accident() -> None:
    with pytest.raises(
        DefinitionError, match="secret 'env:A' is not known before its task runs; pass it as an argument"
    ):
        f"postgres://ann:{Secret('env:A')}@host"


# where they may stand -------------------------------------------------------------------------------------------------


def test_a_definition_holds_the_reference_at_any_depth() -> None:
    task = Login(task_id="login", password=Secret("env:A"), others={"x": ["plain", Secret("sm:b")]})
    assert set(task.runtime_values) == {Secret("env:A"), Secret("sm:b")}
    dumped = task.model_dump(mode="json")
    assert (dumped["password"], dumped["others"]) == ({"secret": "env:A"}, {"x": ["plain", {"secret": "sm:b"}]})


SEEN: list[Callable[[], object]] = [
    lambda: BigQueryQuery(task_id="q", sql="SELECT @p", params={"p": Secret("env:A")}),
    lambda: BigQueryQuery(task_id="q", sql="SELECT {{ p }}", params={"p": ["x", Secret("env:A")]}),
    lambda: DataprocPySparkJob(task_id="j", cluster=Cluster("c"), main="j.py", args=["--password", Secret("env:A")]),
    lambda: DataprocPySparkJob(task_id="j", cluster=Cluster("c"), main="j.py", properties={"p": Secret("env:A")}),
]


@pytest.mark.parametrize("make", SEEN)
def test_a_secret_in_what_others_may_see_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(
        DefinitionError, match=r"field '(params|args|properties)': a secret cannot stand here, as whoever"
    ):
        make()


def planned(project: Path, *values: str) -> None:
    with DAG("d") as dag:
        for number, value in enumerate(values):
            Login(task_id=f"t{number}", password=Secret(value))
    plan(dag, settings.load(project))


def test_a_variable_that_is_missing_is_told_before_anything_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_LOGIN", VALUE)
    planned(project, "env:DB_LOGIN", "sm:asked-later")
    with pytest.raises(
        DefinitionError, match=r"no secret 'env:DB_LOGN'.*is not set; did you mean 'DB_LOGIN'"
    ) as refused:
        planned(project, "env:DB_LOGIN", "env:DB_LOGN")
    assert "task 't1'" in str(refused.value)
    monkeypatch.setenv("DB_LOGIN", "abc")
    with pytest.raises(DefinitionError, match="fewer than 4 characters"):
        planned(project, "env:DB_LOGIN")


# values ---------------------------------------------------------------------------------------------------------------


def test_a_variable_is_looked_up_and_masked_from_then_on(world: World) -> None:
    assert world.secrets(DB=" p w-1 \n").value("env:DB") == " p w-1 \n"
    assert Redactor({})("it is <p w-1>") == "it is <[redacted]>"


def test_the_newest_version_is_meant_unless_one_is_named(world: World) -> None:
    world.store("db", b"first-value")
    world.store("db", "zweiter-Wert-\u00e4".encode())
    world.store("db", b"of-another-project", project="other-1")
    secrets = world.secrets()
    assert secrets.value("sm:db") == "zweiter-Wert-ä"
    assert secrets.value("sm:projects/acme-1/secrets/db/versions/1") == "first-value"
    assert secrets.value("sm:projects/other-1/secrets/db") == "of-another-project"
    assert Redactor({})("first-value, zweiter-Wert-ä") == "[redacted], [redacted]"


def test_a_secret_is_asked_for_once_in_a_run(world: World) -> None:
    world.store("db", VALUE.encode())
    world.faults.add("secretmanager.AccessSecretVersion", kind="latency", seconds=0.05, times=20)
    secrets, together = world.secrets(), threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait()
        return secrets.value("sm:db")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {VALUE}
    assert world.calls == 1
    # and a new run looks again
    world.store("db", b"another-value")
    assert world.secrets().value("sm:db") == "another-value"


@pytest.mark.parametrize("fault", ["503", "429", "500", "lost-answer"])
def test_an_error_that_passes_is_waited_for(world: World, fault: str) -> None:
    world.store("db", VALUE.encode())
    world.faults.add("secretmanager.AccessSecretVersion", kind=fault, times=3)
    assert world.secrets().value("sm:db") == VALUE
    assert (world.calls, len(world.slept)) == (4, 3)


def test_an_outage_is_no_reason_to_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydag_gcp.secret.PATIENCE", 0.0)
    world.store("db", VALUE.encode())
    world.faults.add("secretmanager.AccessSecretVersion", kind="503", times=1)
    secrets = world.secrets()
    with pytest.raises(NotYet, match=r"secret 'sm:db' cannot be looked up: .*unavailable"):
        secrets.value("sm:db")
    assert secrets.value("sm:db") == VALUE


def test_what_is_wrong_with_a_secret_is_told_with_its_name_and_how_to_mend_it(world: World) -> None:
    world.store("short", b"abc")
    world.store("blank", b"   \n\n")
    world.store("binary", b"\xff\xfe\x00\x01")
    world.store("off", VALUE.encode())
    world.clients.secrets().disable_secret_version(name="projects/acme-1/secrets/off/versions/1")
    for reference, said in {
        "env:NONE": "no secret 'env:NONE': the variable NONE is not set; set the variable NONE where the pipeline runs",
        "env:SHORT": "secret 'env:SHORT' has fewer than 4 characters",
        "sm:none": "no secret 'sm:none': Secret [projects/acme-1/secrets/none] not found.; "
        "store it with `pydag local secret set none`",
        "sm:projects/acme-1/secrets/off/versions/9": "not found",
        "sm:short": "secret 'sm:short' has fewer than 4 characters",
        "sm:blank": "secret 'sm:blank' has fewer than 4 characters",
        "sm:binary": "secret 'sm:binary' is no UTF-8 text; store it as text, for instance in base64",
        "sm:off": "is in DISABLED state.; enable that version, add another one, or name one by its number",
    }.items():
        with pytest.raises(TaskError) as refused:
            world.secrets(SHORT="xyz").value(reference)
        assert said in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


def test_secret_manager_is_where_its_own_variable_says(project: Path) -> None:
    emulators = {f"{name}_EMULATOR_HOST": "127.0.0.1:1" for name in ("BIGQUERY", "STORAGE", "DATAPROC")}
    found = settings.load(project, environ={}).target(environ=emulators).endpoints
    assert found is not None
    assert found.secretmanager is None
    beside = {**emulators, "SECRETMANAGER_EMULATOR_HOST": "127.0.0.1:2"}
    found = settings.load(project, environ={}).target(environ=beside).endpoints
    assert found is not None
    assert found.secretmanager == "127.0.0.1:2"
