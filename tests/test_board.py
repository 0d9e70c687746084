"""What is known of a run while it goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.board import Board, duration, name_some, one_line
from pydag_gcp.events import RunStarted, TaskChanged
from pydag_gcp.states import TaskState

START = datetime(2022, 1, 31, 6, tzinfo=UTC)


def board(**upstream: tuple[str, ...]) -> Board:
    return Board(
        RunStarted(
            at=START, run_id="r", dag_id="d", target="local", logical_date=START, upstream=upstream, processors=2,
            logs=Path("logs"),
        )
    )  # fmt: skip


def changed(
    task_id: str, state: TaskState, number: int = 1, *, at: float = 0, detail: str = "", error: str | None = None
) -> TaskChanged:
    moment = START + timedelta(seconds=at)
    return TaskChanged(
        at=moment, run_id="r", task_id=task_id, state=state, try_number=number, detail=detail, error=error
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.001, "0.00 s"), (0, "0.00 s"), (0.254, "0.25 s"), (0.999, "1.00 s"), (0.9996, "1.0 s"), (59.94, "59.9 s"),
        (59.96, "1 min 00 s"), (185.4, "3 min 05 s"), (3599.6, "1 h 00 min"), (3 * 3600 + 125, "3 h 02 min"),
    ],
)  # fmt: skip
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_long_list_of_names_is_counted() -> None:
    assert name_some("abc") == "a, b, c"
    assert name_some("abcdefg") == "a, b, c, d, e and 2 more"


def test_line_ends_and_escape_sequences_cannot_reach_the_terminal() -> None:
    assert one_line("quota\r\nexceeded \x1b[31mred\x07") == "quota exceeded \\x1b[31mred\\x07"


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()


@given(st.text().filter(str.isprintable))
def test_printable_text_is_left_as_it_is(text: str) -> None:
    assert one_line(text) == text


def test_a_scheduled_task_tells_which_upstreams_it_waits_for() -> None:
    # Given a task with two upstreams
    known = board(a=(), b=(), c=("a", "b"))
    assert known.words(known.rows["c"]) == "waits for a, b"
    # When one of them has ended
    known.apply(changed("a", TaskState.SUCCESS))
    # Then it waits for the other
    assert known.words(known.rows["c"]) == "waits for b"
    assert known.words(known.rows["b"]) == "waits for its turn"


def test_a_task_that_never_starts_tells_which_upstream_is_to_blame() -> None:
    known = board(a=(), b=(), c=("a", "b"))
    known.apply(changed("a", TaskState.SUCCESS))
    known.apply(changed("b", TaskState.FAILED, error="no quota"))
    known.apply(changed("c", TaskState.UPSTREAM_FAILED, 0))
    assert known.words(known.rows["c"]) == "not run: b did not succeed"
    assert known.words(known.rows["b"]) == "no quota"


def test_a_waiting_retry_tells_the_error_and_the_wait() -> None:
    known = board(a=())
    known.apply(changed("a", TaskState.UP_FOR_RETRY, 2, detail="tries again in 2.1 s", error="no quota"))
    assert known.words(known.rows["a"]) == "try 2: no quota; tries again in 2.1 s"


def test_the_elapsed_time_counts_from_the_first_try_and_stops_at_the_end() -> None:
    known = board(a=())
    row = known.rows["a"]
    assert row.elapsed(START) is None
    known.apply(changed("a", TaskState.RUNNING, at=1))
    known.apply(changed("a", TaskState.UP_FOR_RETRY, at=2))
    known.apply(changed("a", TaskState.RUNNING, 2, at=3))
    assert row.elapsed(START + timedelta(seconds=5)) == 5 - 1
    known.apply(changed("a", TaskState.SUCCESS, 2, at=7))
    assert row.elapsed(START + timedelta(seconds=100)) == 7 - 1


def test_a_repeated_event_says_nothing_new() -> None:
    known = board(a=())
    assert known.apply(changed("a", TaskState.DEFERRED, detail="job 1"))
    assert not known.apply(changed("a", TaskState.DEFERRED, detail="job 1", at=3))
    assert known.apply(changed("a", TaskState.DEFERRED, detail="stage 2"))


def test_counts_of_tasks() -> None:
    known = board(a=(), b=("a",), c=("a",), d=(), e=())
    known.apply(changed("a", TaskState.FAILED))
    known.apply(changed("b", TaskState.UPSTREAM_FAILED))
    known.apply(changed("c", TaskState.UPSTREAM_FAILED))
    known.apply(changed("d", TaskState.RUNNING))
    assert known.summary == "3 of 5 ended, 1 active, 1 failed, 2 upstream_failed"


def test_where_not_all_fit_the_failed_the_last_ended_and_the_active_are_picked() -> None:
    # Given 20 tasks: 0-9 succeeded, 10 failed, 11-12 run, the others wait
    known = board(**{f"t{i}": () for i in range(20)})
    for i in range(10):
        known.apply(changed(f"t{i}", TaskState.SUCCESS))
    known.apply(changed("t10", TaskState.FAILED))
    for i in (11, 12):
        known.apply(changed(f"t{i}", TaskState.RUNNING))
    # When 6 rows fit
    shown, hidden = known.pick(6)
    # Then 1 failed + 3 last ended + 2 active = 6 are shown, 20 - 6 = 14 hidden
    assert [row.task_id for row in shown] == ["t10", "t7", "t8", "t9", "t11", "t12"]
    assert hidden == 14


@given(st.lists(st.sampled_from(list(TaskState)), min_size=1, max_size=30), st.integers(1, 40))
def test_a_pick_never_exceeds_the_room_and_accounts_for_every_task(states: list[TaskState], room: int) -> None:
    known = board(**{f"t{i}": () for i in range(len(states))})
    for i, state in enumerate(states):
        known.apply(changed(f"t{i}", state))
    shown, hidden = known.pick(room)
    assert len(shown) <= room
    assert len({row.task_id for row in shown}) + hidden == len(states)


def test_what_had_ended_before_is_known_from_the_start() -> None:
    ended = {"a": TaskState.SUCCESS, "b": TaskState.FAILED}
    upstream = {"a": (), "b": (), "c": ("a",)}
    found = Board(replace(board(**upstream).started, resumed=True, ended=ended))
    assert found.summary == "2 of 3 ended, 1 failed"
    assert found.words(found.rows["c"]) == "waits for its turn"
    found.apply(changed("c", TaskState.CACHED, 0, detail="nothing has changed, from run r1"))
    assert found.words(found.rows["c"]) == "nothing has changed, from run r1"
    assert found.summary == "3 of 3 ended, 1 failed"
