"""What lies in buckets is read when a run has reached its target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import Forbidden, GoogleAPICallError, ServiceUnavailable

from pydag_gcp import DAG, fetching, planner, settings
from pydag_gcp.context import Context
from pydag_gcp.errors import DefinitionError, TargetUnreachable
from pydag_gcp.operator import Operator
from pydag_gcp.planner import Plan
from pydag_gcp.resources import Resource, Table


class Fetched(Operator):
    """Knows what it writes once its file was read."""

    answers: ClassVar[Iterator[GoogleAPICallError | Table]]
    _known: Table | None = None

    def fetch(self, ctx: Context) -> bool:
        answer = next(self.answers)
        if not isinstance(answer, Table):
            raise answer
        self._known = answer
        return True

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        return None if self._known is None else frozenset()

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        return None if self._known is None else frozenset({self._known})

    def execute(self, ctx: Context) -> Any:
        raise AssertionError("nothing is executed here")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def planned(project: Path, *answers: GoogleAPICallError | Table) -> Plan:
    Fetched.answers = iter(answers)
    with DAG("fetched") as dag:
        Fetched(task_id="one")
        Fetched(task_id="two")
    plan = planner.plan(dag, settings.load(project))
    plan.clients.revive = lambda: None  # type: ignore[method-assign]
    return plan


def test_what_was_not_known_is_known_afterwards(project: Path) -> None:
    # Given two tasks of which nobody knows what they write
    plan = planned(project, Table("d.a"), Table("d.b"))
    assert plan.warnings

    # When they are fetched, no warning is left, and their tables are known
    assert fetching.fetch(plan) == ()
    assert plan.written_tables() == frozenset({Table("d.a"), Table("d.b")})


def test_a_race_between_files_is_found(project: Path) -> None:
    plan = planned(project, Table("d.a"), Table("d.a"))

    with pytest.raises(DefinitionError, match="is in a race with task 'one'"):
        fetching.fetch(plan)


def test_an_answer_that_does_not_come_is_asked_for_again(project: Path) -> None:
    plan = planned(project, ServiceUnavailable("not now"), Table("d.a"), Table("d.b"))

    assert fetching.fetch(plan) == ()


def test_a_service_that_does_not_answer(project: Path) -> None:
    plan = planned(project, *[ServiceUnavailable("not now")] * 10)

    with pytest.raises(TargetUnreachable, match="task 'one': its file does not come: 503 not now"):
        fetching.fetch(plan)


def test_a_file_that_may_not_be_read(project: Path) -> None:
    plan = planned(project, Forbidden("not yours"))

    with pytest.raises(DefinitionError, match="task 'one': its file cannot be read: 403 not yours"):
        fetching.fetch(plan)
