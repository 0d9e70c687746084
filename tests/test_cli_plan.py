"""``pydag plan``, ``run --max-bytes``, ``--no-cache`` and ``pydag cache``, on the local cloud."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.terminal import Terminal

if TYPE_CHECKING:
    from pydag_gcp.testing import LocalCloud

pytest_plugins = ["pydag_gcp.testing"]

PIPELINE = """
    from pydag_gcp import DAG, GCSObject, Table
    from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

    with DAG("shop", params={"minimum": 0}) as dag:
        load = GCSToBigQuery(
            task_id="load", source="gs://shop/orders.csv", destination=Table("shop.orders"), format="CSV",
            schema={"id": "INT64", "amount": "INT64"}, skip_leading_rows=1,
        )
        total = BigQueryQuery(
            task_id="total",
            sql="SELECT SUM(amount) AS amount FROM {{ orders }} WHERE amount >= @minimum",
            params={"orders": Table("shop.orders"), "minimum": "{{ params.minimum }}"},
            destination=Table("shop.total"),
        )
        load >> total
"""


def verdicts(terminal: Terminal, *args: str) -> dict[str, str]:
    plan = terminal.document("plan", "shop.py", *args)
    return {task_id: task["verdict"] for task_id, task in plan["tasks"].items()}


@pytest.fixture
def terminal(
    local_cloud: LocalCloud, project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    (project / "shop.py").write_text(dedent(PIPELINE))
    monkeypatch.setenv("PYDAG_HOME", str(project / ".pydag"))
    monkeypatch.delenv("PYDAG_STORE")
    local_cloud.put("gs://shop/orders.csv", "id,amount\n1,20\n2,22\n")
    return Terminal(capfd)


def test_a_plan_says_what_a_run_would_do_and_a_run_does_it(
    terminal: Terminal, local_cloud: LocalCloud, project: Path
) -> None:
    # Given a project in which nothing has run
    plan = terminal.document("plan", "shop.py")
    assert [(task["verdict"], task["unknown"]) for task in plan["tasks"].values()] == [
        ("run", None), ("run", "unknown until load runs"),
    ]  # fmt: skip
    assert (plan["exit_code"], plan["bytes"], plan["unknown"]) == (0, 0, ["total"])
    # Then nothing was made
    assert not (project / ".pydag").exists()
    assert list(local_cloud.bigquery.list_datasets()) == []
    # When it has run, then nothing is left to do, and the run is named that did it
    first = terminal.document("run", "shop.py")["run_id"]
    assert local_cloud.rows("shop.total") == [{"amount": 42}]
    lines = terminal.says("plan", "shop.py").splitlines()
    assert [line.split()[:2] for line in lines[3:5]] == [["load", "cached"], ["total", "cached"]]
    assert all(line.rstrip().endswith(f"from run {first}") for line in lines[3:5])
    assert lines[-1] == "2 tasks: 2 cached"
    second = terminal.document("run", "shop.py")
    assert {task["state"] for task in second["tasks"].values()} == {"cached"}
    assert {task["cached_from"] for task in second["tasks"].values()} == {first}
    assert f"from run {first}" in terminal.says("show")
    assert terminal.document("show")["tasks"]["total"]["cached_from"] == first
    # When the data changes, or nothing may be taken from before, then that is said
    local_cloud.put("gs://shop/orders.csv", "id,amount\n1,20\n2,22\n3,1\n")
    changed = terminal.document("plan", "shop.py")["tasks"]
    assert changed["load"]["reason"].startswith("input gs://shop/orders.csv changed")
    assert changed["total"]["verdict"] == "run"
    assert verdicts(terminal, "--no-cache", "--only", "total") == {"total": "run"}


def test_a_run_processes_no_more_than_it_may(terminal: Terminal) -> None:
    first = terminal.document("run", "shop.py")["run_id"]
    other = ["shop.py", "--param", "minimum=21"]
    # Given a query that would read the table again
    plan = terminal.document("plan", *other, "--max-bytes", "1T")
    count = plan["tasks"]["total"]["bytes"]
    assert plan["tasks"]["load"]["verdict"] == "cached"
    assert plan["bytes"] == count > 0
    assert plan["price"] == pytest.approx(count / 2**40 * 6.25)
    # Then plan and run say when that is too much, and nothing runs
    for command in ("plan", "run"):
        said = terminal.document(command, *other, "--max-bytes", str(count - 1), code=2)["error"]
        assert said.startswith("DAG 'shop': its queries would be billed for ")
    assert [run["run_id"] for run in terminal.document("runs")["runs"]] == [first]
    # And if it is not, it runs
    assert terminal.document("run", *other, "--max-bytes", "1T")["state"] == "success"


def test_what_is_recorded_is_listed_and_cleared(terminal: Terminal) -> None:
    assert terminal.says("cache", "ls") == "nothing is recorded\n"
    assert terminal.document("cache", "clear") == {"cleared": 0, "kept": 0}
    run_id = terminal.document("run", "shop.py")["run_id"]
    # Given two records
    records = terminal.document("cache", "ls", "shop.py")["records"]
    assert {(record["task_id"], record["run_id"], record["expired"]) for record in records} == {
        ("load", run_id, False), ("total", run_id, False),
    }  # fmt: skip
    assert run_id in terminal.says("cache", "ls")
    assert "nothing is recorded of a task 'totl'; did you mean 'total'?" in terminal.says(
        "cache", "ls", "--task", "totl", code=2
    )
    # When one is cleared, then its task runs again
    assert terminal.says("cache", "clear", "shop", "--task", "total", "--target", "local") == "cleared 1 result\n"
    assert verdicts(terminal) == {"load": "cached", "total": "run"}
