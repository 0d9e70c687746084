"""What becomes of the tasks of a run, with decisions made for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.record import Record, Success
from pydag_gcp.verdicts import Verdicts

AT = datetime(2026, 1, 2, tzinfo=UTC)
NOW, OLD = Success(run_id="now", try_number=1), Success(run_id="old", try_number=2)


def record(task_id: str, *, writes: Mapping[str, str | None] | None = None) -> Record:
    return Record(
        dag_id="d",
        target="local",
        task_id=task_id,
        fingerprint="f",
        parts={},
        date="",
        success=NOW,
        at=AT,
        reads={},
        upstream={},
        writes=writes,
        result=None,
        accumulating=False,
        expires=None,
    )


class Chain:
    """Decides that ``later`` runs at run time; whoever ends last of ``a`` and ``b`` completes their chain."""

    idle = False

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.restored: dict[str, Mapping[str, str | None]] = {}
        self.asked: list[dict[str, Any]] = []

    def decide(self, known: Mapping[str, Any], **_: Any) -> dict[str, Decision]:
        self.warnings.append("from the start")
        return {"later": Decision(verdict=Verdict.LATER, reason="below a branch")}

    def decide_now(self, task_id: str, known: Mapping[str, Success | None]) -> Decision:
        self.warnings.append("by now")
        self.asked.append(dict(known))
        return Decision(verdict=Verdict.CACHED, reason="unchanged", record=record(task_id))

    def before(self, task_id: str) -> Mapping[str, str | None]:
        return {}

    def needs_observation(self, task_id: str) -> bool:
        return True

    def restore(self, task_id: str, reads: Mapping[str, str | None]) -> None:
        self.restored[task_id] = reads

    def record(self, task_id: str, number: int, result: Any, known: Mapping[str, Any], *, last: bool) -> Any:
        members = {"a", "b"} & known.keys()
        return tuple(record(name, writes={"t": "1"} if len(members) == 2 else None) for name in sorted(members))


class Kept:
    """Records that were put."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def put(self, records: Iterable[Record]) -> None:
        self.records.update({one.task_id: one for one in records})


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def reuse() -> Chain:
    return Chain()


@pytest.fixture
def verdicts(reuse: Chain, kept: Kept) -> Verdicts:
    return Verdicts(reuse, kept, {"before": OLD})  # type: ignore[arg-type]  # all that is needed of them


def test_of_two_members_of_a_chain_that_end_at_once_the_second_completes_it_whatever_is_written_first(
    verdicts: Verdicts, kept: Kept
) -> None:
    # Given two successes that are observed before either is written down
    first = verdicts.observe("a", NOW, None, last=False)
    second = verdicts.observe("b", NOW, None, last=False)
    # When the first one is written last
    verdicts.keep(second)
    verdicts.keep(first)
    # Then what it was seen with at first does not undo what is known since
    assert kept.records["a"].writes == kept.records["b"].writes == {"t": "1"}


def test_a_task_is_decided_later_with_what_is_known_then(verdicts: Verdicts, reuse: Chain) -> None:
    assert verdicts.decide() == ["from the start"]
    assert verdicts.of("later").verdict is Verdict.LATER
    verdicts.ended("up", NOW)
    verdicts.ended("skipped", None)
    assert verdicts.decide_now("later") == ["by now"]
    assert reuse.asked == [{"before": OLD, "up": NOW, "skipped": None}]
    assert verdicts.of("later").verdict is Verdict.CACHED


def test_a_task_that_had_begun_runs_whatever_is_decided_now(verdicts: Verdicts, reuse: Chain) -> None:
    verdicts.decide()
    verdicts.had_begun("later", {"table t": "7"})
    assert verdicts.of("later").verdict is Verdict.RUN
    assert reuse.restored == {"later": {"table t": "7"}}


def test_what_nobody_decided_runs(verdicts: Verdicts) -> None:
    assert verdicts.of("anything").verdict is Verdict.RUN
