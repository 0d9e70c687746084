"""How many jobs of a service may be in flight at once: no more than the author said, fewer while the service refuses.

A pure object, with no clock and no I/O. A refusal for the rate of calls halves what is allowed, an accepted job allows
one more, each at most once per round trip: what was sent before the last change cannot tell anything of it. So does TCP
with its congestion window: https://www.rfc-editor.org/rfc/rfc5681#section-3.1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping


class Limit:
    """The limit of one service.

    Args:
        most: The bound that is never passed; None: there is none until the service refuses.

    Attributes:
        flying: Jobs in flight: sent or about to be, and not known to be over.
    """

    def __init__(self, most: int | None = None) -> None:
        self.flying = 0
        self._most = most
        self._allowed = most
        self._narrowed = self._widened = -math.inf

    @property
    def allowed(self) -> int | None:
        """How many jobs may be in flight now, at least 1; None: any number."""
        return self._allowed

    @property
    def full(self) -> bool:
        """Whether no further job may start."""
        return self._allowed is not None and self.flying >= self._allowed

    def refused(self, *, sent: float, now: float) -> bool:
        """Take in that a call was refused for its rate; tell whether that narrows the limit.

        Args:
            sent: When the call was made, in seconds.
            now: When its answer came.
        """
        if sent < self._narrowed:
            return False
        self._narrowed = self._widened = now
        before = self.flying if self._allowed is None else min(self._allowed, self.flying)
        self._allowed = max(before // 2, 1)
        return True

    def accepted(self, *, sent: float, now: float) -> None:
        """Take in that a job was accepted."""
        if self._allowed is None or self._allowed == self._most or sent < self._widened:
            return
        self._widened = now
        self._allowed += 1


class Limits:
    """The limits of a run.

    Args:
        most: Service -> its bound.
        tell: Called with what to say, once for each service that refuses.

    Attributes:
        full: The services of which no further job may start now.
    """

    def __init__(self, most: Mapping[str, int], tell: Callable[[str], None]) -> None:
        self.full: set[str] = set()
        self._tell = tell
        self._told: set[str] = set()
        self._limits = {service: Limit(bound) for service, bound in most.items()}

    def begin(self, service: str) -> None:
        """Take in that a job is about to be sent, or is taken up."""
        limit = self._of(service)
        limit.flying += 1
        self._note(service, limit)

    def end(self, service: str) -> None:
        """Take in that a job is over, or that nobody follows it any more."""
        limit = self._of(service)
        limit.flying -= 1
        self._note(service, limit)

    def accepted(self, service: str, *, sent: float, now: float) -> None:
        """See :meth:`Limit.accepted`."""
        limit = self._of(service)
        limit.accepted(sent=sent, now=now)
        self._note(service, limit)

    def refused(self, service: str, *, sent: float, now: float) -> None:
        """See :meth:`Limit.refused`."""
        limit = self._of(service)
        if not limit.refused(sent=sent, now=now):
            return
        self._note(service, limit)
        if service not in self._told:
            self._told.add(service)
            jobs = "1 job" if limit.allowed == 1 else f"{limit.allowed} jobs"
            self._tell(f"{service} refuses for its rate: at most {jobs} at a time for now")

    def _of(self, service: str) -> Limit:
        return self._limits.setdefault(service, Limit())

    def _note(self, service: str, limit: Limit) -> None:
        if limit.full:
            self.full.add(service)
        else:
            self.full.discard(service)
