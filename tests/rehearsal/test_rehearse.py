"""``pydag rehearse`` from end to end: real runs on real local clouds, disturbed, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PYDAG = str(Path(sys.executable).with_name("pydag"))

#: Says yes to rehearsing the whole of what takes minutes.
WHOLE = "PYDAG_TEST_REHEARSE"

PIPELINE = """
import secrets

from pydag_gcp import DAG, Context, GCSObject, Retry, Table, task
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

LOADED, ADDED = Table("d.loaded"), Table("d.added")


class Careless(BigQueryQuery):
    # The bug that is to be found: what is sent again has another id.
    def submit(self, ctx, job_id):
        return super().submit(ctx, f"careless-{secrets.token_hex(8)}")


with DAG("three", retry=Retry(attempts=2, wait=0.1, jitter=0)) as dag:
    load = GCSToBigQuery(
        task_id="load",
        source=GCSObject("gs://input/rows.csv"),
        destination=LOADED,
        format="CSV",
        schema={"n": "INT64"},
    )
    careless = Careless(
        task_id="careless",
        sql="CREATE OR REPLACE TABLE {{ added }} AS SELECT n FROM {{ loaded }}",
        params={"added": ADDED, "loaded": LOADED},
    )

    @task
    def append(context: Context) -> None:
        context.clients.bigquery().query_and_wait("INSERT INTO d.added (n) VALUES (7)")

    load >> careless >> append()
"""


@pytest.fixture
def three(project: Path) -> Path:
    """A pipeline of one task that is right, one that has a bug, and one that is not idempotent."""
    (project / "three.py").write_text(PIPELINE)
    (project / "seed" / "input").mkdir(parents=True)
    (project / "seed" / "input" / "rows.csv").write_text("1\n2\n")
    return project


def _rehearse(folder: Path, *arguments: str, timeout: float = 170) -> tuple[int, str, str]:
    environment = {**os.environ, "PYDAG_HOME": str(folder / ".pydag")}
    done = subprocess.run(
        [PYDAG, "rehearse", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_what_is_right_comes_to_the_same_and_what_is_wrong_is_found(three: Path) -> None:
    # When the process dies right after the request for each job, before its answer
    which = ("--boundary=jobs.insert", "--boundary=jobs.query", "--disturbance=kill-after")
    code, out, err = _rehearse(three, "three.py", "--seed", "seed", "--json", *which)
    # Then the exit code says that something differs
    assert code == 1, out + err
    document: dict[str, Any] = json.loads(out)
    found = {played["about"]: played["differences"] for played in document["rounds"]}
    assert all(played["reached"] for played in document["rounds"])
    # The task that is right is not to blame
    assert found["load"] == []
    # The bug is found although the table is right: its job took effect twice
    assert found["careless"][0].startswith("task careless took effect 2 times instead of 1: jobs ")
    # And a Python task runs at least once
    assert found["pydag-local"] == ["table pydag-local.d.added has 4 rows instead of 3"]
    # And nothing of the user's was touched
    assert not (three / ".pydag").exists()


@pytest.mark.slow
def test_a_pipeline_that_fails_undisturbed_is_one_line_that_says_where_input_comes_from(three: Path) -> None:
    code, out, err = _rehearse(three, "three.py", "--clouds", "1")

    assert (code, out) == (1, "")
    _, error = err.splitlines()
    assert error.startswith("error: undisturbed, 'three' fails: ")
    assert "gs://input/rows.csv" in error
    assert "--seed DIR" in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.py",), "nowhere.py"),
        (("three.py", "--target", "my-project"), "throw-away local clouds, not to target 'my-project'"),
        (("three.py", "--disturbance", "earthquake"), "earthquake"),
        (("three.py", "--seed", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_told_before_anything_runs(three: Path, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = _rehearse(three, *arguments)

    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get(WHOLE), reason=f"takes minutes: set {WHOLE}=1")
@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "with a random job id"])
def test_staging_to_fact(project: Path, planted: bool) -> None:
    for name in ("pipelines", "sql"):
        shutil.copytree(ROOT / name, project / name)
    only: tuple[str, ...] = ()
    if planted:
        file = project / "pipelines" / "staging_to_fact.py"
        text = file.read_text()
        bug = (
            "class BigQueryQuery(BigQueryQuery):\n"
            "    def submit(self, ctx, job_id):\n"
            "        import secrets\n\n"
            "        return super().submit(ctx, f'random-{secrets.token_hex(8)}')\n\n\n"
        )
        file.write_text(text.replace("CLUSTER = ", f"{bug}CLUSTER = ", 1))
        only = ("--boundary", "insert_to_fact bigquery.jobs.insert")

    code, out, err = _rehearse(project, "staging_to_fact", "--seed", "pipelines/data", *only, timeout=1700)

    print(out)
    assert code == int(planted), out + err
    cells = out.replace("✗ different", "").replace("? not reached", "")
    assert ("✗" in cells) == planted
    assert "?" not in cells


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_rehearsal_at_once_and_with_it_all_that_it_started(project: Path, number: int) -> None:
    # Given a rehearsal whose task would take minutes
    lines = "import time", "from pathlib import Path", "from pydag_gcp import DAG, task"
    work = f"    @task(reads=[], writes=[])\n    def work() -> None:\n        Path({str(project / 'began')!r}).touch()"
    (project / "long.py").write_text(
        "\n".join([*lines, "with DAG('long') as dag:", work, "        time.sleep(600)", "    work()"])
    )
    (project / "seed").mkdir()
    (project / "tmp").mkdir()
    environment = {**os.environ, "PYDAG_HOME": str(project / ".pydag"), "TMPDIR": str(project / "tmp")}
    with subprocess.Popen(
        [PYDAG, "rehearse", "long.py", "--seed", "seed", "--clouds", "1"],
        cwd=project, env=environment, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while not (project / "began").exists() and process.poll() is None:
            time.sleep(0.05)
        # When
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    # Then its folder is gone, which holds the clouds that it had started
    assert (process.returncode, said.splitlines()[-1]) == (130, "error: interrupted")
    assert not [*(project / "tmp").glob("pydag-rehearsal-*")]
