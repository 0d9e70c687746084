"""What a plain run does without: it should be over before anybody waits for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("project")

PIPELINE = """
from pydag_gcp import DAG, task


@task
def hello() -> str:
    return "hello"


with DAG("hello") as dag:
    hello()
"""

#: Runs a pipeline, then prints what was imported, whether garbage is collected again, and where it is not looked for.
RUN = """
import gc, json, sys
from pydag_gcp.cli import main

code = main(["run", "hello.py"])
found = {"code": code, "modules": sorted(sys.modules), "collects": gc.isenabled(), "kept": gc.get_freeze_count()}
print(json.dumps(found), file=sys.stderr)
"""

#: Packages of others.
OTHERS = {
    "cronsim", "duckdb", "google.api_core", "google.auth", "google.cloud", "grpc", "jinja2", "requests", "rich",
    "sqlglot", "tenacity", "yaml",
}  # fmt: skip
#: Modules of ours: for what may be cached, for terminals, logs of JSON, several runs, and files that are not Python's.
OURS = {
    "chains", "console", "decider", "document", "equivalence", "findings", "forecast", "judgement", "lineage",
    "live_lines", "local", "log_events", "reopening", "recorder", "services", "sql", "together",
}  # fmt: skip


def test_a_run_of_one_task_imports_only_what_it_needs() -> None:
    # Given a pipeline with one Python task, and nothing else to do
    Path("hello.py").write_text(PIPELINE)
    # When it is run, piped
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    # Then
    found = json.loads(done.stderr)
    assert found["code"] == 0
    assert "run " in done.stdout
    unneeded = OTHERS | {f"pydag_gcp.{name}" for name in OURS}
    assert sorted(unneeded & set(found["modules"])) == []
    assert found["collects"]
    assert found["kept"] > 10_000  # all that was imported, also while the process ends
