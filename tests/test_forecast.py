"""What a forecast adds up to, and how it is shown."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from pydag_gcp import forecast_table
from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.errors import SettingsError
from pydag_gcp.forecast import Forecast, TaskForecast
from pydag_gcp.forecast_table import dollars, print_forecast
from pydag_gcp.record import Record, Success

NOW = datetime(2026, 1, 2, 6, tzinfo=UTC)
GIB, TIB = 2**30, 2**40
RECORD = Record(
    dag_id="daily", target="local", task_id="stage", fingerprint="f", parts={}, date="", at=NOW, reads={}, upstream={},
    success=Success(run_id="k7m2x9qw3v4z", try_number=1), writes={}, result=None, accumulating=False, expires=None,
)  # fmt: skip


def task(
    verdict: Verdict, reason: str, count: int | None = None, unknown: str | None = None, record: Record | None = None
) -> TaskForecast:
    decision = Decision(verdict=verdict, reason=reason, record=record)
    return TaskForecast(decision=decision, bytes=count, unknown=unknown)


FOUND = Forecast(
    dag_id="daily",
    target="local",
    logical_date=NOW,
    bigquery_tib=5.0,
    tasks={
        "load": task(Verdict.RUN, "input gs://shop/raw/2026-01-02/orders.csv changed: generation 17 -> 18"),
        "stage": task(Verdict.CACHED, "nothing changed", record=RECORD),
        "check": task(Verdict.RUN, "SQL changed: sql/check.sql", 2 * TIB),
        "sum": task(Verdict.RUN, "upstream load will run", unknown="unknown until load runs"),
        "report": task(Verdict.LATER, "behind the branch choose", GIB),
    },
)


def shown(found: Forecast, monkeypatch: pytest.MonkeyPatch, columns: int | None = None) -> list[str]:
    """What is printed in a pipe, or on a terminal of a width."""
    if columns is None:
        stream = io.StringIO()
        print_forecast(found, stream)
        return [line.rstrip() for line in stream.getvalue().splitlines()]
    from rich.console import Console

    console = Console(file=io.StringIO(), width=columns, highlight=False)
    with monkeypatch.context() as patch, console.capture() as captured:
        patch.setattr(forecast_table, "console_on", lambda _: console)
        print_forecast(found, io.StringIO())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_in_a_pipe_every_task_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(FOUND, monkeypatch)

    assert [line.split("  ")[0] for line in lines[3:8]] == list(FOUND.tasks)
    assert "nothing changed, from run k7m2x9qw3v4z" in lines[4]
    assert lines[5].endswith("2.0 TiB  $10.00")
    assert lines[6].endswith("unknown until load runs")
    assert lines[9:] == [
        "5 tasks: 3 run, 1 cached, 1 decided at run time",
        "total: 2.0 TiB, $10.00; up to 1.0 GiB, <$0.01 more, decided at run time; not known yet: sum",
    ]


def test_a_narrow_terminal_folds_reasons_and_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(FOUND, monkeypatch, columns=80)

    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "2.0 TiB $10.00" in text
    assert "decided at" in text
    assert "bytes unknown until load runs" in text


def test_a_wide_terminal_has_a_line_for_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(FOUND, monkeypatch, columns=200) == shown(FOUND, monkeypatch)


def test_where_nothing_is_billed_there_is_no_word_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Forecast(
        dag_id="daily", target="local", logical_date=NOW, bigquery_tib=5.0, tasks={"load": FOUND.tasks["load"]}
    )

    lines = shown(found, monkeypatch)

    assert lines[2].split() == ["task", "decision", "reason"]
    assert lines[-1] == "1 task: 1 run"


def test_a_run_that_certainly_needs_more_is_refused() -> None:
    FOUND.check(None)
    FOUND.check(2 * TIB)  # what is decided at run time may come to nothing
    with pytest.raises(SettingsError) as caught:
        FOUND.check(2 * TIB - 1)
    assert str(caught.value) == (
        "DAG 'daily': its queries would be billed for 2.0 TiB, more than the 2.0 TiB of --max-bytes; "
        "allow more, or read less: task 'check' alone comes to 2.0 TiB"
    )


def test_a_small_query_is_billed_for_ten_mebibytes() -> None:
    decision = Decision(verdict=Verdict.RUN, reason="")
    tasks = {name: TaskForecast(decision=decision, bytes=count) for name, count in (("a", 1), ("b", 5), ("c", 0))}
    found = Forecast(dag_id="daily", target="local", logical_date=NOW, bigquery_tib=5.0, tasks=tasks)

    found.check(20 * 2**20)
    with pytest.raises(SettingsError, match=r"billed for 20\.0 MiB, more than the 19\.0 MiB of --max-bytes"):
        found.check(19 * 2**20)


def test_the_document_has_everything() -> None:
    document = FOUND.to_json()

    assert (document["bytes"], document["price"], document["unknown"]) == (2 * TIB, 10.0, ["sum"])
    assert document["decided_at_run_time"] == {"bytes": GIB, "price": 5.0 / 1024}
    assert document["tasks"]["stage"] == {
        "verdict": "cached", "reason": "nothing changed", "cached_from": "k7m2x9qw3v4z",
        "bytes": None, "price": None, "unknown": None,
    }  # fmt: skip


@pytest.mark.parametrize(("price", "text"), [(0, "$0.00"), (0.0001, "<$0.01"), (0.006, "$0.01"), (1234.5, "$1,234.50")])
def test_prices(price: float, text: str) -> None:
    assert dollars(price) == text
