"""The command, as a process: exit codes, one clear line for each mistake, one JSON document."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from pydag_gcp import __version__
from tests.conftest import reaped

pytestmark = pytest.mark.usefixtures("project")

PYDAG = [str(Path(sys.executable).with_name("pydag"))]

COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\dm")

#: Two local tasks, of which the second does what its text says.
PIPELINE = """
    import time
    from pydag_gcp import DAG, Operator

    class Step(Operator):
        text: str = ""
        seconds: float = 0

        def execute(self, ctx):
            print("said by a task")
            time.sleep(self.seconds)
            if self.text == "fail":
                raise ValueError("no [bold]quota[/bold]")
            return {"text": self.text, "year": ctx.params["year"]}

    with DAG("daily", params={"year": 2022}) as dag:
        Step(task_id="first") >> Step(task_id="second", text="{{ text }}", seconds={{ seconds }})

    if __name__ == "__main__":
        dag.cli()
"""

QUERY = """
    from pydag_gcp import DAG, Table
    from pydag_gcp.operators import BigQueryQuery

    with DAG("broken") as dag:
        BigQueryQuery(task_id="fact", {{ fields }})
"""


def write(name: str, source: str, **values: object) -> Path:
    for key, value in values.items():
        source = source.replace(f"{{{{ {key} }}}}", str(value))
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(source).lstrip())
    return path


def step(name: str = "daily.py", *, text: str = "", seconds: float = 0) -> Path:
    return write(name, PIPELINE, text=text, seconds=seconds)


def pydag(
    *args: str, command: list[str] = PYDAG, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *args],
        capture_output=True,
        text=True,
        env={**os.environ, **(environ or {})},
        timeout=60,
        check=False,
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The one JSON document on stdout."""
    found: dict[str, object] = json.loads(done.stdout)
    return found


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr; below it stands at most the line of the source that is wrong."""
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.startswith("  ") for line in lines[1:]), done.stderr
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


# what is said before anything is imported -----------------------------------------------------------------------------


def test_the_version() -> None:
    done = pydag("--version")
    assert (done.returncode, done.stdout) == (0, f"pydag {__version__}\n")


def test_the_module_is_the_command() -> None:
    done = pydag("--version", command=[sys.executable, "-m", "pydag_gcp"])
    assert (done.returncode, done.stdout) == (0, f"pydag {__version__}\n")


def test_without_a_command_there_is_help() -> None:
    done = pydag()
    assert done.returncode == 2
    assert "Usage: pydag" in done.stderr
    assert all(name in done.stderr for name in ("run", "validate", "local"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rum"], r"no such command 'rum'; did you mean one of: 'resume', 'run'\?.*"),
        (["run", "x.py", "--onyl", "a"], r"no such option '--onyl'; did you mean one of: '--json', '--only'\?.*"),
        (["completion"], r"missing argument '{bash\|zsh\|fish}'. Choose from: bash, zsh, fish.*"),
        (["run"], r"missing argument 'PIPELINE\.\.\.' \(see `pydag run --help`\)"),
        (["run", "x.py", "--taget", "local"], r"no such option '?--taget'?\W+did you mean one of: '?--target.*"),
        (["run", "x.py", "y.py", "--from", "a"], r"--only and --from go with one pipeline.*"),
        (["show", "--limit", "3"], r"no such option '?--limit.*"),
        (["runs", "--state", "done"], r".*'done' is not one of 'running', 'success'.*"),
        (["run", "x.py", "--max-processors", "0"], r".*--max-processors.* 0 is not in the range x>=1.*"),
        (
            ["run", "x.py", "--param", "year"],
            r".*expected NAME=VALUE, got 'year'; write.*--param year=2022.*",
        ),
        (["run", "x.py", "--param", "=1"], r".*expected NAME=VALUE, got '=1'.*"),
        (["run", "x.py", "--logical-date", "31.1.2022"], r".*expected a date such as 2022-01-31.*got '31.1.2022'.*"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(args: list[str], said: str) -> None:
    done = pydag(*args)
    assert re.fullmatch(said, one_error(done), re.IGNORECASE)
    assert done.returncode == 2


# run ------------------------------------------------------------------------------------------------------------------


def test_a_piped_run_prints_plain_lines_and_a_table() -> None:
    # When two tasks run
    done = pydag("run", str(step()))
    # Then the run id comes first, then each change, then the table, then makespan and critical path
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d\d:\d\d:\d\d run \w{12} of daily on local, logical date .*, 2 tasks", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d first running \(try 1\)", lines[1])
    assert "task    state    tries  duration" in done.stdout
    assert re.fullmatch(r"run \w{12} success: makespan [\d.]+ s, critical path [\d.]+ s: first > second", lines[-1])
    assert "\x1b" not in done.stdout


def test_a_failed_run_is_exit_code_1_and_names_task_error_and_log() -> None:
    done = pydag("run", str(step(text="fail")))
    assert done.returncode == 1
    assert "second failed in" in done.stdout
    assert "second: ValueError: no [bold]quota[/bold]" in done.stdout
    log = re.search(r"^  log: (.*)$", done.stdout, re.MULTILINE)
    assert log is not None
    assert "ValueError" in Path(log[1]).read_text()


def test_params_are_converted_to_the_type_of_their_default() -> None:
    done = pydag("run", str(step()), "--param", "year=1999", "--json")
    tasks = document(done)["tasks"]
    assert isinstance(tasks, dict)
    assert tasks["second"]["result"] == {"text": "", "year": 1999}


def test_a_param_given_twice_is_refused() -> None:
    done = pydag("run", str(step()), "--param", "year=1", "--param", "year=2")
    assert "invalid value for '--param': 'year' is given twice" in one_error(done)
    assert done.returncode == 2


def test_json_is_the_only_thing_on_stdout() -> None:
    # Given a pipeline whose file, tasks and child processes print
    noise = "import os; print('loading'); os.system('echo from a child process')\n"
    path = step()
    path.write_text(noise + path.read_text())
    # When it is run with --json
    done = pydag("run", str(path), "--json")
    # Then stdout is one document and everything else is on stderr
    found = document(done)
    assert (found["state"], found["exit_code"], done.returncode) == ("success", 0, 0)
    for text in ("loading", "from a child process", "said by a task", "first running (try 1)"):
        assert text in done.stderr


@pytest.mark.parametrize(("args", "code"), [(["run", "nowhere.py"], 2), (["run"], 2), (["run", "x.py", "--nope"], 2)])
def test_an_error_is_a_json_document_too(args: list[str], code: int) -> None:
    done = pydag(*args, "--json")
    assert set(document(done)) == {"error", "exit_code"}
    assert document(done)["exit_code"] == done.returncode == code
    assert done.stderr == f"error: {document(done)['error']}\n"


def test_nothing_runs_if_one_of_several_pipelines_is_broken() -> None:
    done = pydag("run", str(step("a.py")), "nowhere.py")
    assert "nowhere.py: no such file" in one_error(done)
    assert done.returncode == 2
    assert not Path(".pydag").exists()


def test_a_pipeline_is_found_by_its_name() -> None:
    step("pipelines/daily.py")
    assert pydag("run", "daily").returncode == 0


def test_a_pipeline_file_is_a_command_with_the_same_options() -> None:
    path = step(text="fail")
    done = pydag("--json", "--param", "year=1999", command=[sys.executable, str(path)])
    assert document(done)["exit_code"] == done.returncode == 1
    wrong = pydag("--parm", "year=1", command=[sys.executable, str(path)])
    assert "--parm" in one_error(wrong)
    assert wrong.returncode == 2


def test_the_settings_of_the_project_hold() -> None:
    Path("pydag.toml").write_text("tagret = 'local'")
    done = pydag("run", str(step()))
    assert "pydag.toml: field 'tagret': no such setting; did you mean 'target'?" in one_error(done)
    assert done.returncode == 2


@pytest.mark.parametrize(("number", "state"), [(signal.SIGINT, "cancelled"), (signal.SIGTERM, "interrupted")])
def test_a_signal_is_exit_code_130(number: int, state: str) -> None:
    # Given a run whose second task takes long
    command = [*PYDAG, "run", str(step(seconds=30)), "--json"]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        assert any("second running" in line for line in process.stderr)
        # When the signal comes
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    # Then it ends at once
    assert process.returncode == 130
    assert json.loads(out)["state"] == state


def test_a_reader_that_goes_away_hears_no_complaint() -> None:
    command = f"{PYDAG[0]} run {step()} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bug_is_one_line_and_its_traceback_is_kept_in_a_file_without_secrets() -> None:
    # Given a pipeline that breaks the engine itself
    source = """
        import pydag_gcp.planner
        from pydag_gcp import DAG

        def plan(*args, **kwargs):
            raise KeyError("hunter2-secret")

        pydag_gcp.planner.plan = plan
        dag = DAG("daily")
        dag.check = lambda: None
    """
    done = pydag("run", str(write("daily.py", source)), environ={"MY_PASSWORD": "hunter2-secret"})
    # Then one line names the file that holds the traceback
    found = re.fullmatch(r"internal error: KeyError: '\[redacted\]' \(details: (.*)\)", one_error(done))
    assert done.returncode == 1
    assert found is not None
    details = Path(found[1])
    assert "Traceback" in details.read_text()
    assert "hunter2" not in details.read_text()
    details.unlink()


def on_a_terminal(*args: str, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run the command on a pseudo-terminal of 60 columns; return its exit code and all it wrote."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60", "LINES": "20", **environ}
    with reaped(subprocess.Popen([*PYDAG, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=env)) as process:
        os.close(theirs)
        written = b""
        while select.select([ours], [], [], 30)[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # how Linux tells that the other side has closed
                break
        os.close(ours)
    return process.returncode, written.decode()


def test_a_run_on_a_terminal_is_drawn_live_and_ends_with_the_table() -> None:
    code, written = on_a_terminal("run", str(step(text="fail", seconds=0.5)), environ={})
    assert code == 1
    assert "● " in written
    assert "\x1b[?25l" in written
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")
    assert "no [bold]quota[/bold]" in written
    assert COLOUR.search(written)
    assert re.search(r"makespan 0\.\d+ s, critical path", written)


def test_no_color_is_honoured() -> None:
    _, written = on_a_terminal("run", str(step(text="fail")), environ={"NO_COLOR": "1"})
    assert not COLOUR.search(written)


# the target -----------------------------------------------------------------------------------------------------------


def test_a_real_target_with_an_emulator_variable_set_is_refused() -> None:
    done = pydag("run", str(step()), "--target", "my-project", environ={"BIGQUERY_EMULATOR_HOST": "127.0.0.1:1"})
    assert "target 'my-project' is a real project, but BIGQUERY_EMULATOR_HOST is set" in one_error(done)
    assert done.returncode == 2


def test_an_unreachable_target_is_exit_code_3() -> None:
    # Given the address of a port that is closed
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    services = ("BIGQUERY", "STORAGE", "DATAPROC")
    closed = {f"{service}_EMULATOR_HOST": address for service in services}
    path = write("query.py", QUERY, fields='sql="CREATE TABLE d.t (x INT64)"')
    # When a task needs it
    done = pydag("run", str(path), "--json", environ=closed)
    # Then it is told in one line after the run's id
    assert done.returncode == 3
    assert f"cannot connect to {address}" in str(document(done)["error"])
    assert document(done)["exit_code"] == 3
    assert done.stderr.splitlines()[-1] == f"error: {document(done)['error']}"
    assert "Traceback" not in done.stderr


# validate, and what it refuses ----------------------------------------------------------------------------------------


def test_validate_names_each_pipeline_and_its_number_of_tasks() -> None:
    done = pydag("validate", str(step("a.py")), str(step("b.py")))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a.py: ok (2 tasks)\nb.py: ok (2 tasks)\n"


def test_validate_names_every_broken_pipeline() -> None:
    done = pydag("validate", "nowhere.py", str(step("a.py")), str(write("b.py", "x = 1")))
    assert done.returncode == 2
    assert done.stdout == "a.py: ok (2 tasks)\n"
    assert [line.split(";")[0] for line in done.stderr.splitlines()] == [
        "error: nowhere.py: no such file",
        "error: b.py: defines no DAG",
    ]


def test_validate_as_json() -> None:
    done = pydag("validate", "nowhere.py", str(step("a.py")), "--json")
    assert document(done) == {
        "pipelines": [
            {"pipeline": "nowhere.py", "error": "nowhere.py: no such file", "exit_code": 2},
            {"pipeline": "a.py", "dag_id": "daily", "tasks": 2, "exit_code": 0},
        ],
        "exit_code": 2,
    }


STEP = """
    from pydag_gcp import DAG, Operator

    class Step(Operator):
        count: int = 1

        def execute(self, ctx):
            return None

    with DAG("broken") as dag:
"""

BROKEN = {
    "syntax error": ("x = (1,\n", r"broken\.py:1: SyntaxError: '\(' was never closed"),
    "cycle": (
        f"{STEP}        a, b = Step(task_id='a'), Step(task_id='b')\n        a >> b >> a\n",
        r"broken\.py:9: DAG 'broken': has a cycle: (a -> b -> a|b -> a -> b); remove one of these edges",
    ),
    "duplicate id": (
        f"{STEP}        Step(task_id='a')\n        Step(task_id='a')\n",
        r"broken\.py:11: task 'a': another task has this id, defined at line 10",
    ),
    "typo in a field": (
        f"{STEP}        Step(task_id='a', cuont=2)\n",
        r"broken\.py:10: task 'a': field 'cuont': no such field; did you mean 'count'\?",
    ),
    "wrong type": (
        f"{STEP}        Step(task_id='a', count='many')\n",
        r"broken\.py:10: task 'a': field 'count': .*integer.*got 'many'",
    ),
    "no DAG": ("x = 1\n", r"broken\.py: defines no DAG; .*"),
    "exception": ("x = 1\n1 / 0\n", r"broken\.py:2: ZeroDivisionError: division by zero"),
    "missing SQL file": (
        QUERY.replace("{{ fields }}", 'sql="nowhere.sql"'),
        r"broken\.py:5: task 'fact': .*nowhere\.sql.*",
    ),
    "SQL error": (QUERY.replace("{{ fields }}", 'sql="broken.sql"'), r".*broken\.sql:2:\d+.*"),
    "template variable missing": (
        QUERY.replace("{{ fields }}", 'sql="template.sql", params={"source": Table("d.t")}'),
        r".*template\.sql:2.*sourse.*did you mean 'source'\?",
    ),
}


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_definition_is_one_line_that_names_the_place_and_exit_code_2(case: str, command: str) -> None:
    source, said = BROKEN[case]
    Path("broken.sql").write_text("CREATE TABLE d.t AS\nSELECT FROM WHERE (\n")
    Path("template.sql").write_text("CREATE TABLE d.u AS\nSELECT * FROM {{ sourse }}\n")
    done = pydag(command, str(write("broken.py", source)))
    assert re.fullmatch(said, one_error(done))
    assert done.returncode == 2


def test_a_missing_file_suggests_its_neighbour() -> None:
    step("daily.py")
    done = pydag("run", "dayly.py")
    assert one_error(done) == "dayly.py: no such file; did you mean 'daily.py'?"
    assert done.returncode == 2
