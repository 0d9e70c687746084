"""The benchmarks: shapes are what they say, the arithmetic is right, every script runs. Nothing is timed."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import floor
import page
import peers
import pytest
import sharing
import sharing_run
import waves
from environments import PINNED, Unavailable
from report import Report, Table, Target
from samples import Samples, interleaved
from shapes import QUICK, SHAPES, Shape, bound, chain, fan, layered, shape

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

#: These start clouds, or install other people's software, and take minutes.
LONG = ("staging_table", "pending", "peers") if "PYDAG_TEST_BENCHMARKS" in os.environ else ()


# shapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tasks", "edges", "work", "critical"),
    [
        ("W1", 200, 199, 0, 0),
        ("W2", 1002, 2000, 0, 0),
        ("W3", 2000, 3 * (2000 - 45), 0, 0),
        ("W4", 221, 19 + 201, 200 * 0.01 + 20 * 0.05, 20 * 0.05),
        ("W4b", 221, 199 + 19 + 2, 200 * 0.01 + 20 * 0.05, 200 * 0.01),
        ("W5", 8, 4 + 2 + 2, 1.76, 0.9 + 0.6 + 0.06 + 0.08),
        ("W6", 100_000, 3 * (100_000 - 316), 0, 0),
    ],
)
def test_a_shape_is_what_it_is_called(name: str, tasks: int, edges: int, work: float, critical: float) -> None:
    found = shape(name, quick=False)

    assert found.name == name
    assert len(found.upstream) == tasks
    assert sum(len(above) for above in found.upstream.values()) == edges
    assert found.work == pytest.approx(work)
    assert found.critical == pytest.approx(critical)
    assert all(above in found.upstream[task] for above, task in itertools.pairwise(found.longest))


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "W6"])
@pytest.mark.parametrize("quick", [False, True])
def test_each_task_comes_after_what_it_waits_for(name: str, quick: bool) -> None:
    seen: set[str] = set()
    for task, above in shape(name, quick=quick).upstream.items():
        assert seen.issuperset(above)
        assert len(set(above)) == len(above)
        seen.add(task)


def test_the_short_tasks_of_w4_are_declared_first() -> None:
    assert list(shape("W4", quick=False).upstream)[:200] == [f"short{i}" for i in range(200)]


def test_every_shape_has_a_quick_one() -> None:
    assert QUICK.keys() == SHAPES.keys()


@pytest.mark.parametrize(
    ("measured", "processors", "seconds"),
    [
        ([chain("c", "", 10, 0.5)], 4, 5.0),  # the longest path
        ([fan("f", "", 10, 0.5)], 4, 1.25),  # the work
        ([layered("l", "", 8, 1.0, width=4)], 2, 4.0),
        ([chain("c", "", 4, 0.5), fan("f", "", 16, 0.5)], 4, 2.5),  # the work of both
    ],
)
def test_nobody_is_faster_than_the_bound(measured: list[Shape], processors: int, seconds: float) -> None:
    assert bound(measured, processors) == pytest.approx(seconds)


# who they are measured against ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [floor.run, waves.run])
@pytest.mark.parametrize("name", ["W1", "W2", "W3", "W4"])
def test_rivals_do_every_task_once_and_in_order(run: Callable[..., None], name: str) -> None:
    measured = shape(name, quick=True)
    done: list[str] = []
    lock = threading.Lock()

    def work(task: str) -> None:
        with lock:
            assert set(done).issuperset(measured.upstream[task])
            done.append(task)

    run(measured.upstream, work)

    assert sorted(done) == sorted(measured.upstream)


def test_a_wave_waits_for_its_slowest_task() -> None:
    # Given two chains, and a first wave whose second task is held up
    upstream = {"a1": (), "b1": (), "a2": ("a1",), "b2": ("b1",)}
    begun: dict[str, threading.Event] = {task: threading.Event() for task in upstream}

    def work(task: str) -> None:
        begun[task].set()
        if task == "b1":
            # When the first one is long done, then its downstream has not begun
            assert not begun["a2"].wait(0.05)

    waves.run(upstream, work)

    assert all(event.is_set() for event in begun.values())


# arithmetic ----------------------------------------------------------------------------------------------------------


def test_median_mean_and_confidence_interval() -> None:
    found = Samples((1.0, 2.0, 3.0, 4.0, 10.0))

    assert found.median == 3
    assert found.mean == 4
    # Standard deviation 3.5355, t(4) = 2.776: 2.776 * 3.5355 / sqrt(5)
    assert found.half_width == pytest.approx(4.389, abs=0.001)
    assert found.scaled(10).text(1) == "30.0 (10.0-100.0)"
    assert found.over(Samples((1.0, 1.0, 2.0, 2.0, 5.0))) == Samples((1.0, 2.0, 1.5, 2.0, 2.0))


def test_ten_runs_have_nine_degrees_of_freedom() -> None:
    # Standard deviation of 1..10 is 3.02765, t(9) = 2.262
    assert Samples(tuple(range(1, 11))).half_width == pytest.approx(2.262 * 3.02765 / math.sqrt(10), abs=1e-4)


def test_a_single_run_says_nothing_of_the_mean() -> None:
    assert Samples((1.0,)).half_width == math.inf


def test_measures_take_turns_and_the_first_turn_is_not_counted() -> None:
    order: list[str] = []

    def measure(name: str) -> Callable[[], float]:
        return lambda: order.append(name) or float(len(order))  # type: ignore[func-returns-value]

    found = interleaved({"a": measure("a"), "b": measure("b")}, 2)

    assert order == ["a", "b", "a", "b", "a", "b"]
    assert found == {"a": Samples((3.0, 5.0)), "b": Samples((4.0, 6.0))}


def test_at_once_counts_who_sleeps() -> None:
    found = sharing.at_once([(0.0, 4.0), (1.0, 3.0), (3.0, 5.0)])

    assert found == {0.0: 1, 1.0: 2, 3.0: 2, 4.0: 1, 5.0: 0}


def test_what_runs_together_is_bound_by_its_work() -> None:
    together = [make(1.0) for make in sharing_run.TOGETHER.values()]

    assert sum(one.work for one in together) / 8 > max(one.critical for one in together)


# reports -------------------------------------------------------------------------------------------------------------


def a_report(*, found: float = 1.02) -> Report:
    return Report(
        part="makespan",
        title="Makespan",
        method="Measured.",
        tables=[Table(title="Seconds", columns=("", "s"), rows=(("W4", "1.02"),))],
        targets=[Target(what="W4", found=found, most=1.03)],
        samples={"W4": (1.0, 2.0)},
        began="2026-01-02 03:04 UTC",
        took=60.0,
    )


def test_a_report_survives_json() -> None:
    report = a_report()

    again = Report.from_json(json.loads(json.dumps(report.to_json())))

    assert again.text() == report.text()
    assert again.targets == report.targets
    assert again.tables == report.tables


@pytest.mark.parametrize(("found", "says"), [(1.03, "Targets met: all 1."), (1.04, "**Targets not met: 1 of 1.**")])
def test_the_page_says_what_is_not_met(found: float, says: str) -> None:
    text = page.text({"machine": {"Python": "3.11"}, "parts": [a_report(found=found).to_json()]})

    assert says in text
    assert "| W4 | 1.02 |" in text
    assert "took 1.0 minutes" in text


def test_the_page_is_what_the_results_say() -> None:
    results = json.loads(page.RESULTS.read_text(encoding="utf-8"))

    assert page.PAGE.read_text(encoding="utf-8") == page.text(results), "python benchmarks/page.py writes it anew"


# peers ---------------------------------------------------------------------------------------------------------------


def test_a_peer_that_cannot_be_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a peer that pip does not find
    def nowhere(peer: str) -> Path:
        raise Unavailable("No matching distribution")

    monkeypatch.setattr(peers, "PINNED", {"airflow": ("airflow==0",)})
    monkeypatch.setattr(peers, "interpreter", nowhere)
    ours = dict.fromkeys((*peers.OVERHEAD, *peers.MAKESPAN), Samples((1.0,)))
    monkeypatch.setattr(peers, "_of", lambda *args, **kwargs: ours)

    # When the peers are measured
    found = peers.measure(True)

    # Then it has a row, and the reason is told
    assert [row[0] for row in found.tables[0].rows] == ["floor", "pydag", "airflow"]
    assert found.tables[0].rows[2][1:] == ("failed", "failed", "failed")
    assert "airflow could not be installed: No matching distribution" in found.notes


def test_a_peer_that_fails_is_reported(tmp_path: Path) -> None:
    assert str(peers._cell(sys.executable, "peer_nobody.py", "W1", quick=True)).startswith("failed: ")


# scripts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["overhead", "large", "makespan", "sharing", "startup", *LONG])
def test_a_benchmark_runs(part: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"

    command = [sys.executable, str(BENCHMARKS / f"{part}.py"), "--quick", "--json", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    report = Report.from_json(json.loads(file.read_text()))
    assert report.part == part
    assert report.quick
    assert report.text() in ended.stdout


def test_dask_and_the_others_have_drivers_and_pins() -> None:
    assert {f"peer_{peer}.py" for peer in PINNED} <= {file.name for file in BENCHMARKS.glob("peer_*.py")}
    assert all("==" in pin for pins in PINNED.values() for pin in pins)
