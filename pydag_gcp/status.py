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
    """The job finished badly: it is over and changes nothing any more.

    Attributes:
        reason: Why, in one line.
        transient: Whether the same work may well succeed when it is tried again.
        throttled: Whether it was refused because the service had too much to do for us at once.
    """

    reason: str
    transient: bool = False
    throttled: bool = False


Status = Running | Done | Failed
