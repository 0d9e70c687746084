"""Where a job in the cloud stands, as one look at it tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Running:
    """The job is not finished. ``detail`` is shown to who watches the run."""

    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The job finished well."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The job finished badly: it is over and changes nothing any more."""

    reason: str
    transient: bool = False


Status = Running | Done | Failed
