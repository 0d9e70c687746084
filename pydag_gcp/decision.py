"""What becomes of a task in a run, and why: run it, or take what an earlier run recorded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydag_gcp.operator import Operator
    from pydag_gcp.record import Record


class Verdict(StrEnum):
    """What becomes of a task."""

    RUN = "run"
    CACHED = "cached"
    LATER = "decided at run time"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict, and why.

    Attributes:
        reason: In words, for people: ``upstream ingest will run``.
        record: The success that stands for the task; only where it is cached. None of a service that runs already.
    """

    verdict: Verdict
    reason: str
    record: Record | None = None


def may_be_cached(task: Operator) -> bool:
    """Tell whether a task is one of those that are ever cached, if what it reads and writes is known."""
    return type(task).cached_by_default or task.cache not in (None, False)
