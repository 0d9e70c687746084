"""Lines of JSON, as Cloud Logging takes them."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import DAG, planner, settings
from pydag_gcp.identity import remote_id
from pydag_gcp.log_events import LogEvents
from pydag_gcp.log_format import LONGEST, JsonLog, stderr_for, structure, structured, trace_fields
from pydag_gcp.operators import BigQueryQuery

PYDAG = str(Path(sys.executable).with_name("pydag"))

LABELS = "logging.googleapis.com/labels"
# https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity
SEVERITIES = {"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}

PIPELINE = """
    import sys
    from pydag_gcp import DAG, Operator, Retry

    class Step(Operator):
        fails: int = 0

        def execute(self, ctx):
            ctx.log.info("works with password=hunter22 and %s", ctx.params["note"])
            ctx.log.warning("two\\nlines")
            print("printed by a task", file=sys.stderr)
            if ctx.try_number <= self.fails:
                raise ValueError("token=abcdef123 is wrong")

    with DAG("daily", params={"note": ""}) as dag:
        Step(task_id="good")
        Step(task_id="again", fails=1, retry=Retry(attempts=2, wait=0.01)) >> Step(task_id="bad", fails=9)

    if __name__ == "__main__":
        dag.cli()
"""


def entries(text: str) -> list[dict[str, Any]]:
    """Every line as what it holds; that it holds one entry of Cloud Logging is checked."""
    found = [json.loads(line) for line in text.splitlines()]
    for entry in found:
        assert entry["severity"] in SEVERITIES
        assert isinstance(entry["message"], str)
        assert entry["time"].endswith("Z")
        assert datetime.fromisoformat(entry["time"]).tzinfo is not None
        assert all(isinstance(value, str) for value in entry.get(LABELS, {}).values())
    return found


def run(*args: str, environ: Mapping[str, str] | None = None, program: str = PYDAG) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **(environ or {})}
    return subprocess.run([program, *args], capture_output=True, text=True, env=env, timeout=60, check=False)


@pytest.fixture
def pipeline(project: Path) -> Path:
    path = project / "daily.py"
    path.write_text(dedent(PIPELINE))
    return path


# a whole run ----------------------------------------------------------------------------------------------------------


def test_everything_about_a_run_is_an_entry_with_labels(pipeline: Path) -> None:
    # When a run with a retry and a failure is logged as JSON
    environ = {"MY_TOKEN": "a-secret-value", "GOOGLE_CLOUD_PROJECT": "p", "X_CLOUD_TRACE_CONTEXT": f"{'ab' * 16}/1;o=1"}
    done = run("run", str(pipeline), "--log-format", "json", "--param", "note=a-secret-value", environ=environ)
    # Then stdout has nothing, and stderr one entry a line, without secrets
    assert (done.returncode, done.stdout) == (1, "")
    assert not any(secret in done.stderr for secret in ("hunter22", "abcdef123", "a-secret-value"))
    found = entries(done.stderr)
    run_id = found[0][LABELS]["run_id"]
    assert all(entry["logging.googleapis.com/trace"] == f"projects/p/traces/{'ab' * 16}" for entry in found)
    # And what tasks log is labelled with the try
    logged = [entry for entry in found if entry["message"].startswith("works with")]
    assert [(entry["severity"], entry[LABELS]) for entry in logged if entry[LABELS]["task_id"] == "again"] == [
        ("INFO", {"dag_id": "daily", "run_id": run_id, "task_id": "again", "try_number": str(number)})
        for number in (1, 2)
    ]
    assert [entry["severity"] for entry in found if entry["message"] == "two\nlines"] == ["WARNING"] * 4
    # And so are its events, each with the severity that fits
    events = {entry["message"].split(":")[0]: entry for entry in found if "state" in entry}
    assert events["again running (try 1)"]["severity"] == "INFO"
    assert events["again up_for_retry (try 1)"]["severity"] == "WARNING"
    failure = next(entry for text, entry in events.items() if text.startswith("bad failed"))
    assert failure["severity"] == "ERROR"
    assert failure["message"].endswith("ValueError: token=[redacted] is wrong")
    assert (found[-1]["severity"], found[-1]["state"]) == ("ERROR", "failed")
    # And the traceback is one entry
    assert any("Traceback" in entry["message"] and "ValueError" in entry["message"] for entry in found)
    # And what is printed to stderr is one as well
    assert {"severity": "DEFAULT", "message": "printed by a task"}.items() <= next(
        entry for entry in found if entry["message"] == "printed by a task"
    ).items()


def test_json_goes_with_a_document_on_stdout_and_with_a_pipeline_file(pipeline: Path) -> None:
    done = run(str(pipeline), "--log-format=json", "--json", "--only", "good", program=sys.executable)
    assert (json.loads(done.stdout)["state"], done.returncode) == ("success", 0)
    assert entries(done.stderr)[-1]["severity"] == "INFO"


def test_the_setting_and_the_variable_ask_for_json_and_the_option_wins(pipeline: Path, project: Path) -> None:
    (project / "pydag.toml").write_text('log_format = "json"\n')
    assert entries(run("run", str(pipeline), "--only", "good").stderr)
    text = run("run", str(pipeline), "--only", "good", "--log-format", "text", environ={"PYDAG_LOG_FORMAT": "json"})
    assert text.stderr == "printed by a task\n"
    assert "good success" in text.stdout


def test_a_mistake_is_an_entry_too(project: Path) -> None:
    (project / "broken.yaml").write_text("dag: x\ntasks:\n  a: {operatr: BigQueryQuery}\n")
    for args in (["run", "broken.yaml"], ["run", "nowhere.py"], ["runs", "--nope"]):
        done = run(*args, environ={"PYDAG_LOG_FORMAT": "json"})
        assert done.returncode == 2
        assert [entry["severity"] for entry in entries(done.stderr)] == ["ERROR"], done.stderr


def test_an_unknown_format_is_refused(pipeline: Path, project: Path) -> None:
    (project / "pydag.toml").write_text('log_format = "yaml"\n')
    done = run("run", str(pipeline))
    assert done.returncode == 2
    assert "pydag.toml: field 'log_format': input should be 'text' or 'json', got 'yaml'" in done.stderr


def test_the_entries_of_remote_work_name_its_job(project: Path) -> None:
    # Given a run that submits a query
    with DAG("remote") as dag:
        BigQueryQuery(task_id="query", sql="CREATE TABLE d.t AS SELECT 1 AS x")
    planned = planner.plan(dag, settings.load(project))
    stream = io.StringIO()
    events = LogEvents(JsonLog(stream, {}), planned)
    # When its second try logs something
    record = logging.makeLogRecord({"msg": "says %s and %s", "args": ("one",), "levelno": logging.ERROR})
    handler = events.handler("query", 2)
    handler.emit(record)
    handler.close()
    handler.emit(record)
    # Then there is one entry, with the id of that job, though what was logged does not fit its own format
    (entry,) = entries(stream.getvalue())
    assert entry[LABELS]["job_id"] == remote_id(planned.run_id, "query", 2)
    assert (entry["severity"], entry["message"]) == ("ERROR", "says %s and %s ('one',)")


# the pieces -----------------------------------------------------------------------------------------------------------


def written(*messages: str) -> list[dict[str, Any]]:
    stream = io.StringIO()
    log = JsonLog(stream, {})
    for message in messages:
        log.write("INFO", message)
    return entries(stream.getvalue())


@given(text=st.text(st.characters(codec=None)))
def test_any_message_is_one_line_of_ascii(text: str) -> None:
    stream = io.StringIO()
    JsonLog(stream, {}).write("INFO", text)
    assert stream.getvalue().isascii()
    assert stream.getvalue().count("\n") == 1
    assert isinstance(json.loads(stream.getvalue())["message"], str)


def test_a_message_that_is_too_long_for_an_entry_says_what_is_missing() -> None:
    found = written("x" * (LONGEST + 7))[0]["message"]
    assert found == "x" * LONGEST + " ... (7 characters more)"


def test_the_time_is_in_utc() -> None:
    stream = io.StringIO()
    at = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=5)))
    JsonLog(stream, {}).write("INFO", "x", at=at)
    assert json.loads(stream.getvalue())["time"] == "2026-01-01T22:00:00.000000Z"


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        log = JsonLog(stream, {})
        log.write("INFO", "nobody reads this")
        log.write("INFO", "nor this")


def test_what_is_printed_to_stderr_becomes_entries_until_the_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with stderr_for(["run", "--log-format", "json"], {}):
        assert structure() is structured()
        print("error: no", "quota", file=sys.stderr)
        print("warning: old", file=sys.stderr)
        print("two\n\nlines: password=hunter22", file=sys.stderr, end="\nhalf")
    assert structured() is None
    assert sys.stderr is stream
    assert [(entry["severity"], entry["message"]) for entry in entries(stream.getvalue())] == [
        ("ERROR", "no quota"),
        ("WARNING", "old"),
        ("DEFAULT", "two"),
        ("DEFAULT", "lines: password=[redacted]"),
        ("DEFAULT", "half"),
    ]


@pytest.mark.parametrize(
    ("args", "variable", "expected"),
    [
        ([], "", False), ([], "json", True), ([], "text", False), (["--log-format=json"], "", True),
        (["--log-format", "json"], "", True), (["--log-format", "text"], "json", False), (["--log-format"], "", False),
    ],
)  # fmt: skip
def test_json_is_asked_for_by_option_or_variable(
    args: list[str], variable: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with stderr_for(args, {"PYDAG_LOG_FORMAT": variable}):
        assert (structured() is not None) == expected


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = ("logging.googleapis.com/trace", "logging.googleapis.com/spanId", "logging.googleapis.com/trace_sampled")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TRACEPARENT": f"00-{TRACE}-{SPAN}-01"}, (SPAN, True)),
        ({"TRACEPARENT": f"00-{TRACE}-{SPAN}-00"}, (SPAN, False)),
        # The older header gives the span in decimal: 67667974448284343 = 0x00f067aa0ba902b7
        ({"X_CLOUD_TRACE_CONTEXT": f"{TRACE}/67667974448284343;o=1"}, (SPAN, True)),
        ({"X_CLOUD_TRACE_CONTEXT": TRACE}, (None, None)),
        ({"TRACEPARENT": f"00-{'0' * 32}-{SPAN}-01"}, None),
        ({"TRACEPARENT": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_trace_comes_from_the_environment(environ: dict[str, str], expected: tuple[Any, Any] | None) -> None:
    fields = trace_fields({"GOOGLE_CLOUD_PROJECT": "p", **environ})
    trace = (
        {FIELDS[0]: f"projects/p/traces/{TRACE}", FIELDS[1]: expected[0], FIELDS[2]: expected[1]} if expected else {}
    )
    assert fields == {name: value for name, value in trace.items() if value is not None}
    assert trace_fields(environ) == {}
