"""docs/errors.md quotes real messages, and tells the errors that there are."""

from __future__ import annotations

import builtins
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pydag_gcp import cli, errors
from pydag_gcp.lease import acquire
from pydag_gcp.store import Store

PAGE = (Path(__file__).parents[1] / "docs" / "errors.md").read_text(encoding="utf-8")
ERRORS, MET = (re.findall(r"^\| (`.*)\|$", part, re.MULTILINE) for part in PAGE.split("## What is often met"))
QUOTED = [message for row in MET for message in re.findall(r"`(.+?)`", row.split(" | ")[0])]

SQL = "dag: d\nparams: {day: x}\ntasks:\n  a: {operator: BigQueryQuery, "
PYTHON = "from pydag_gcp import DAG, Secret, task\nfrom pydag_gcp.operators import BigQueryQuery\n"
TASK = "@task(reads=[], writes=[])\ndef f(x: str) -> None: ...\nwith DAG('d') as dag:\n    "

#: A mistake in a pipeline -> the beginning of what is said of it.
VALIDATED = {
    "field 'destinaton'": SQL + "sql: SELECT 1 AS x, destinaton: a.b}\n",
    "no task 'laod'": SQL.replace("a:", "load:")
    + "sql: SELECT 1}\n  b: {operator: BigQueryQuery, sql: S, upstream: laod}",
    "has a cycle": SQL + "sql: S, upstream: b}\n  b: {operator: BigQueryQuery, sql: S, upstream: a}",
    "is in a race": SQL.replace("  a:", "  load:")
    + "sql: SELECT 1 AS x, destination: s.t}\n  report: {operator: BigQueryQuery, sql: SELECT x FROM s.t}",
    "no SQL file": SQL + "sql: totals.sql}",
    "{{ x }} stands": SQL + "sql: \"SELECT '{{ x }}' AS x\", params: {x: 1}}",
    "unknown parameter": SQL + "sql: SELECT @yaer AS x, params: {year: 1}}",
    "parameter 'x'": SQL + "sql: SELECT 1 AS x, params: {x: 1}}",
    "an output": SQL + "sql: {output: b}}\n  b: {operator: BigQueryQuery, sql: SELECT 1 AS x}",
    "the output of": PYTHON + TASK + "a = BigQueryQuery(task_id='a', sql='S')\n    f(f'{a.output}')\n",
    "a secret cannot": SQL + "sql: SELECT @x AS x, params: {x: {secret: 'env:HOME'}}}",
    "no secret": PYTHON + TASK + "f(Secret('env:TOKEN'))\n",
}
#: A command that is refused -> the beginning of what it says.
COMMANDS = {
    "needs the output": ["validate", "outputs.yaml", "--only", "b"],
    "no pipeline": ["run", "ordrs"],
    "the DAG has no": ["validate", "plain.yaml", "--param", "x=1"],
    "no param": ["validate", "outputs.yaml", "--param", "dya=1"],
    "target 'my-project' is": ["run", "plain.yaml", "--target", "my-project"],
    "target 'my-project': no": ["run", "plain.yaml", "--target", "my-project"],
    "the local cloud": ["local", "status"],
    "run k7m2 of DAG": ["run", "plain.yaml"],
    "has schema version": ["runs"],
}


def stale(project: Path) -> None:
    """A database that a later version made."""
    with Store(f"sqlite:///{project / '.pydag' / 'pydag.db'}"):
        pass
    engine = sa.create_engine(f"sqlite:///{project / '.pydag' / 'pydag.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    engine.dispose()


@pytest.fixture
def active(project: Path) -> Iterator[Callable[[], None]]:
    """Makes a run of the DAG active on the target."""
    with contextlib.ExitStack() as ends:

        def drive() -> None:
            store = ends.enter_context(Store(f"sqlite:///{project / '.pydag' / 'pydag.db'}"))
            ends.callback(acquire(store, dag_id="d", target="local", run_id="k7m2").release)

        yield drive


def world(beginning: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files and variables that a command finds."""
    monkeypatch.delenv("TOKEN", raising=False)
    (project / "pipelines").mkdir()
    (project / "pipelines" / "orders.yaml").write_text("")
    (project / "plain.yaml").write_text("dag: d\ntasks:\n  a: {operator: BigQueryQuery, sql: SELECT 1 AS x}\n")
    second = "  b: {operator: BigQueryQuery, sql: SELECT @n AS x, params: {n: {output: a.rows}}}\n"
    (project / "outputs.yaml").write_text(SQL + "sql: SELECT 1 AS x}\n" + second)
    if beginning.endswith(" is"):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(project / "none.json"))
    if beginning == "has schema version":
        stale(project)


def begins(message: str, table: dict[str, object]) -> str:
    """The one beginning in a table that a message has."""
    (found,) = [beginning for beginning in table if message.startswith(beginning)]
    return found


@pytest.mark.parametrize("message", QUOTED)
def test_messages_are_quoted_as_they_are(
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    active: Callable[[], None],
) -> None:
    beginning = begins(message, {**VALIDATED, **COMMANDS})
    world(beginning, project, monkeypatch)
    if beginning.startswith("run "):
        active()
    if text := VALIDATED.get(beginning):
        file = project / ("p.py" if text.startswith("from") else "p.yaml")
        file.write_text(text)

    code = cli.main(COMMANDS.get(beginning, ["validate", "p.py" if (project / "p.py").exists() else "p.yaml"]))

    said = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert re.search(".*".join(map(re.escape, message.split("..."))), said)
    assert code != 0


def test_every_mistake_here_is_on_the_page() -> None:
    assert {begins(message, {**VALIDATED, **COMMANDS}) for message in QUOTED} == VALIDATED.keys() | COMMANDS.keys()


def test_an_error_of_a_document_looks_as_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(r"^```text\n(error: .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown is not None
    sql = "    operator: BigQueryQuery\n    sql: |\n      SELECT 1\n      AS x\n"
    Path("orders.yaml").write_text(f"dag: d\nparams: {{}}\ntasks:\n  totals:\n{sql}    destinaton: shop.totals\n")

    assert cli.main(["validate", "orders.yaml"]) == 2
    assert capsys.readouterr().err == shown[1]


def test_every_error_is_told_with_its_exit_code_and_its_other_kind() -> None:
    told = {}
    for row in ERRORS:
        name, code, also, _ = (cell.strip(" `") for cell in row.split("|", 3))
        told[name] = (int(code), getattr(builtins, also))
    there: dict[str, Callable[..., object]] = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }

    assert there.keys() - told.keys() == {"PydagError", "NotYet", "JobTaken", "JobRefused"}
    for name, (code, also) in told.items():
        kind = getattr(errors, name)
        assert (kind.exit_code, issubclass(kind, also)) == (code, True), name
