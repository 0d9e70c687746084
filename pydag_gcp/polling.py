"""When jobs are looked at, and whether alone or together.

A job is looked at after a tenth of the time it has taken so far. Where a service can list what goes on
(:meth:`RemoteOperator.listing <pydag_gcp.operator.RemoteOperator.listing>`), more than :data:`FEW` jobs that wait at
once are looked at together: by one list for all of them. A list only ever says that a job goes on. Whoever is not in it
is looked at alone, so that its end, what came of it and every error are seen where they always are.

So nothing rests on a list: one that is late, cut short, made for other eyes or refused costs calls and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from datetime import datetime
from typing import Any, Protocol

from pydag_gcp.attempt import Outcome, Timer
from pydag_gcp.errors import LocalCloudError
from pydag_gcp.operator import Running
from pydag_gcp.retry import RESEND, is_transient

#: A job is looked at after a tenth of the time it has taken so far, within these bounds, in seconds.
POLL_EVERY = (0.05, 5.0)
#: Up to so many jobs that wait at once are looked at alone.
FEW = 20
#: The longest time between two lists, in seconds: one costs less than the looks that it saves.
LIST_EVERY = POLL_EVERY[1] / 2
#: But between two lists there is a rest of so many times what the last one took, though none longer than between looks.
_REST = 9.0
#: For so long a list that gets no answer is asked for again before all are looked at alone, in seconds.
_LIST_PATIENCE = 3.0
#: A job that goes on and was missing from so many lists in a row is looked at alone from then on.
_MOST_MISSED = 3
#: After so long in lists a job is looked at alone all the same, with a few others, for the case that they are wrong; in
#: seconds.
_LOOK_EVERY = 300.0


class Watched(Protocol):
    """A job that somebody waits for."""

    job_id: str
    started: datetime

    def look(self) -> None:
        """Look at it alone."""

    def seen(self, status: Running) -> None:
        """Take in that it goes on."""

    def listed(self, job_ids: frozenset[str], since: datetime, *, revive: bool) -> Mapping[str, Running]:
        """List what goes on in its service; called on a thread for short calls.

        Args:
            job_ids: The jobs that are asked for.
            since: When the first of them was begun.
            revive: Whether the call before went unanswered.
        """


class Caller(Protocol):
    """What polling needs of the driver."""

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Make one short API call that holds no processor, then ``then``."""

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` in ``seconds``."""

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""


class Polling:
    """Decides when and how the jobs of a run are looked at; in the driving thread.

    Args:
        caller: Does what blocks.
        tell: Called with what the user should know, once for each list that is refused.
    """

    def __init__(self, caller: Caller, tell: Callable[[str], None]) -> None:
        self._caller = caller
        self._tell = tell
        self._rolls: dict[Hashable, _Roll] = {None: _Roll(caller, tell, closed=True)}

    def watch(self, job: Watched, listing: Hashable | None) -> Watch:
        """Begin to watch a job.

        Args:
            job: The job.
            listing: Jobs of which this is equal are in one list; None: there is no list.
        """
        roll = self._rolls.get(listing)
        if roll is None:
            roll = self._rolls[listing] = _Roll(self._caller, self._tell)
        return Watch(roll, job)


class Watch:
    """The next look at one job."""

    __slots__ = ("_roll", "_timer", "due", "job", "looked", "missed")

    def __init__(self, roll: _Roll, job: Watched) -> None:
        self._roll = roll
        self._timer: Timer | None = None
        self.job = job
        self.due = 0.0
        self.looked = roll.caller.clock()
        self.missed = 0  # from so many lists in a row

    def again_in(self, seconds: float) -> None:
        """Look at the job in about ``seconds``; once."""
        if self._roll.closed or self.missed >= _MOST_MISSED:
            self.alone_in(seconds)
        else:
            self._roll.wait(self, seconds)

    def alone_in(self, seconds: float) -> None:
        """Look at the job alone in ``seconds``."""
        self._timer = self._roll.caller.after(seconds, self.look)

    def cancel(self) -> None:
        """Do not look."""
        self._roll.leave(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Look at the job alone, now."""
        self._timer = None
        self.looked = self._roll.caller.clock()
        self.job.look()


class _Roll:
    """The jobs of one list that wait for their next look."""

    def __init__(self, caller: Caller, tell: Callable[[str], None], *, closed: bool = False) -> None:
        self.caller = caller
        self.closed = closed  # nobody is listed any more
        self._tell = tell
        self._waiting: dict[Watch, None] = {}
        self._timer: Timer | None = None
        self._due = 0.0
        self._asking = False
        self._asked = 0.0
        self._not_before = 0.0  # the next list is made between these
        self._latest = 0.0
        self._unanswered = 0  # lists in a row
        self._unanswered_since = 0.0

    def wait(self, watch: Watch, seconds: float) -> None:
        watch.due = self.caller.clock() + seconds
        self._waiting[watch] = None
        if not self._asking and (self._timer is None or watch.due < self._due):
            self._wake_at(watch.due)

    def leave(self, watch: Watch) -> None:
        self._waiting.pop(watch, None)

    @property
    def _many(self) -> bool:
        return len(self._waiting) > FEW

    def _wake_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = max(min(due, self._latest), self._not_before) if self._many else due
        self._timer = self.caller.after(max(self._due - self.caller.clock(), 0.0), self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self.caller.clock()
        if not self._many:
            self._look_alone([watch for watch in self._waiting if watch.due <= now])
        elif now >= self._not_before:
            self._ask()
            return
        self._arrange()

    def _arrange(self) -> None:
        if self._waiting and not self._asking:
            self._wake_at(min(watch.due for watch in self._waiting))

    def _look_alone(self, watches: Collection[Watch]) -> None:
        for watch in watches:
            self.leave(watch)
            watch.look()

    # lists -------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Make one list for all who wait."""
        self._asking, self._asked = True, self.caller.clock()
        asked = list(self._waiting)
        job_ids = frozenset(watch.job.job_id for watch in asked)
        since = min(watch.job.started for watch in asked)
        revive = self._unanswered > 0
        leader = asked[0].job
        self.caller.call(
            lambda: leader.listed(job_ids, since, revive=revive), lambda outcome: self._answered(asked, outcome)
        )

    def _answered(self, asked: Collection[Watch], outcome: Outcome) -> None:
        now = self.caller.clock()
        self._not_before = now + min(_REST * (now - self._asked), POLL_EVERY[1])
        self._latest = now + LIST_EVERY
        there = [watch for watch in asked if watch in self._waiting]
        if outcome.error is None:
            self._unanswered = 0
            self._take(there, outcome.value, now)
        elif is_transient(outcome.error) or isinstance(outcome.error, LocalCloudError):
            self._missed(there, now)
        else:
            self._close(outcome.error, now)
        self._asking = False
        self._arrange()

    def _take(self, asked: Collection[Watch], found: Mapping[str, Running], now: float) -> None:
        doubted = 0
        for watch in asked:
            status = found.get(watch.job.job_id)
            self.leave(watch)
            if status is None:
                watch.missed += 1
                watch.look()
            elif doubted < FEW and now - watch.looked >= _LOOK_EVERY:
                doubted += 1
                watch.look()
            else:
                watch.missed = 0
                watch.job.seen(status)

    def _missed(self, asked: Collection[Watch], now: float) -> None:
        """Take in that a list got no answer: soon it is asked for again, or else all are looked at alone."""
        if not self._unanswered:
            self._unanswered_since = self._asked
        self._unanswered += 1
        if now - self._unanswered_since < _LIST_PATIENCE:
            self._not_before = now + RESEND.delay(self._unanswered)
        else:
            self._unanswered = 0
            self._look_alone(asked)

    def _close(self, error: BaseException, now: float) -> None:
        """Look at everybody alone from now on: the list is refused for good."""
        self.closed = True
        self._tell(f"looks at each job by itself: {error}")
        waiting, self._waiting = list(self._waiting), {}
        for watch in waiting:
            watch.alone_in(max(watch.due - now, 0.0))
