"""One try of a task, from its start to its end.

An attempt lives in the executor's one driving thread: its methods never block and never run at the same time. What
blocks is handed to the driver, which calls back with the :class:`Outcome`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pydag_gcp.errors import JobUnsettled, LocalCloudError, TaskError, TaskTimeout
from pydag_gcp.limits import Limits
from pydag_gcp.operator import Context, Operator
from pydag_gcp.outages import Outages
from pydag_gcp.resources import Resource
from pydag_gcp.retry import RESEND, RESEND_LIMIT, is_transient
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store

if TYPE_CHECKING:
    from pydag_gcp.polling import Polling
    from pydag_gcp.record import Record

_SUCCESS = TaskState.SUCCESS
#: Shortest time that a timed-out function is given to return before its task fails, if it would be tried again.
GRACE = 60.0
#: Most characters of JSON, and levels of lists and dicts, that a result may have: it is stored, and copied for each
#: task that takes it.
_LARGEST, _DEEPEST = 16_000_000, 100


@dataclass(slots=True)
class Outcome:
    """What came of a call: a value, or the error it raised."""

    value: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class End:
    """How a try ended.

    Attributes:
        state: ``success``, ``failed`` or ``cancelled``.
        error: Why it failed.
        again: Whether another try would be safe: nothing of this one is left behind, and nothing still runs.
        held_back: What to tell the author if a try would follow, were it safe.
        free: Whether another one follows whatever the task's policy, of which it takes no try: nobody looked when what
            it had started was lost.
        records: What a success is to be known by in later runs.
    """

    state: TaskState
    result: Any = None
    records: tuple[Record, ...] = ()
    error: BaseException | None = None
    again: bool = True
    held_back: str = ""
    free: bool = False


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Make it not happen."""


class Driver(Protocol):
    """What an attempt needs of the executor.

    Attributes:
        setups: The tasks that others clean up after.
    """

    store: Store
    outages: Outages
    limits: Limits
    polling: Polling
    setups: frozenset[str]

    def work(self, slots: int, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Call ``function`` on the processors that the attempt holds, then ``then``; they are free again."""

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Make one short API call that holds no processor, then ``then``."""

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` in ``seconds``."""

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""

    def moment(self) -> datetime:
        """The date and time of what is done now: those of this turn of the loop."""

    def begun(self, attempt: Attempt) -> None:
        """Record that a try begins, and tell whoever watches.

        Raises:
            StoreError: It cannot be recorded.
        """

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None:
        """Tell whoever watches what it does or waits for."""

    def wants_another(self, attempt: Attempt, end: End) -> bool:
        """Tell whether another try would follow this end."""

    def settled(self) -> None:
        """Wait until all that was recorded is durable; from any thread but the driving one, before it matters.

        Raises:
            LeaseLost: It cannot be, as the run is not ours any more. The driver knows, and calls nothing back any more.
            StoreError: It cannot be. The same holds.
        """

    def check_lease(self) -> None:
        """Make sure that the run is still ours to drive; from any thread, right before anything has an effect.

        Raises:
            LeaseLost: It is not. The driver knows, and calls nothing back any more.
            StoreError: Nobody can tell. The same holds.
        """

    def needs_observation(self, task_id: str) -> bool:
        """Tell whether :meth:`observe` of a try of the task would ask anybody for anything."""

    def observe(self, attempt: Attempt, result: Any, *, last: bool) -> tuple[Record, ...]:
        """See what a success has left in the cloud; on a thread for short calls.

        Args:
            attempt: It has succeeded.
            result: With this.
            last: Do with what is known: the cloud has not answered for too long.

        Raises:
            Exception: If transient, it is worth asking again.
        """

    def ended(self, attempt: Attempt, end: End) -> None:
        """Take the end of a try."""

    def leave(self, attempt: Attempt, error: JobUnsettled) -> None:
        """Leave a try open, and with it the run; the driver calls nothing back any more."""


class Attempt(ABC):
    """One try; see :class:`LocalAttempt` and :class:`~pydag_gcp.remote_attempt.RemoteAttempt`.

    Args:
        task: The rendered task.
        ctx: Its context; names the try.
        driver: Does what blocks.
    """

    #: The id of its remote job, chosen beforehand; empty for local work.
    job_id: str = ""
    #: The service that its job goes to; None: it is local work.
    service: str | None = None
    # What most tries never change is not stored for each.
    _over = False
    _deadline: Timer | None = None
    _succeeded = False
    _blind = 0  # looks at what it has left, as a success, that came to nothing
    _look_until = 0.0
    _hurried = False

    def __init__(self, task: Operator, ctx: Context, driver: Driver) -> None:
        self.task = task
        self.ctx = ctx
        self.driver = driver
        self.started = driver.moment()
        self._began = driver.clock()

    def start(self) -> None:
        """Begin. The caller has given it a processor.

        Raises:
            StoreError: The try could not be recorded, so it was not begun.
        """
        self.driver.begun(self)
        if self.task.timeout is not None:
            self._mind_the_time()
        self._start()

    @abstractmethod
    def cancel(self) -> None:
        """End it as ``cancelled``, as soon as that is true."""

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _timed_out(self) -> None: ...

    @property
    def _timeout(self) -> float:
        return self.task.timeout.total_seconds() if self.task.timeout else 0.0

    def _mind_the_time(self) -> None:
        if self.task.timeout is not None and self._deadline is None:
            self._deadline = self.driver.after(max(self._timeout - self._elapsed(), 0.0), self._timed_out)

    def _elapsed(self) -> float:
        return self.driver.clock() - self._began

    def _timeout_end(self, *, again: bool = True, held_back: str = "") -> End:
        hint = "raise its timeout if that is too short"
        error = TaskTimeout(f"timed out after {self._timeout:g} s", transient=True, hint=hint)
        return End(state=TaskState.FAILED, error=error, again=again, held_back=held_back)

    def _succeed(self, result: Any) -> None:
        """End it as a success, once it is seen what it has left in the cloud; no timeout, no cancel changes that."""
        self._succeeded = True
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.driver.needs_observation(self.ctx.task_id):
            self._end(End(_SUCCESS, result))
            return
        self._look_until = self.driver.clock() + RESEND_LIMIT
        self._observe(result)

    def _observe(self, result: Any, *, last: bool = False) -> None:
        self.driver.call(
            partial(self.driver.observe, self, result, last=last), partial(self._observed, result, last=last)
        )

    def _observed(self, result: Any, outcome: Outcome, *, last: bool) -> None:
        error = outcome.error
        if error is None:
            self._end(End(state=TaskState.SUCCESS, result=result, records=outcome.value))
            return
        if last:
            unknown = TaskError(f"it succeeded, but that cannot be recorded: {error}")
            self._end(End(state=TaskState.FAILED, error=unknown, again=False))
            return
        self._blind += 1
        self.ctx.log.warning("cannot see what the task has left in the cloud: %s", error)
        worth_asking = is_transient(error) or isinstance(error, LocalCloudError)
        if worth_asking and not self._hurried and self.driver.clock() <= self._look_until:
            state = TaskState.DEFERRED if self.job_id else TaskState.RUNNING
            self.driver.report(self, state, f"has succeeded; cannot see yet what it has left: {error}")
            self.driver.after(RESEND.delay(self._blind), partial(self._observe, result))
        else:
            self._observe(result, last=True)

    def _end(self, end: End) -> None:
        if self._over:
            return
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
        self.driver.ended(self, end)


class LocalAttempt(Attempt):
    """Local work on a processor. A thread cannot be cut: what timed out keeps its processor until it returns."""

    _late = False

    def cancel(self) -> None:
        """End it at once, unless it has succeeded; its thread may go on for a while, and its result is dropped."""
        self._hurried = True
        if not self._succeeded:
            self._end(End(state=TaskState.CANCELLED))

    def _start(self) -> None:
        self.driver.work(self.task.slots, self._work, self._returned)

    def _work(self) -> Any:
        task = self.task.resolved(self.ctx)
        if self.ctx.task_id in self.driver.setups:
            self.driver.settled()  # or, after a kill, nobody would know that there is something to clean up
        if self._over:  # cancelled meanwhile: what is to clean up after it may have ended
            return None
        self.driver.check_lease()
        return as_json(task.execute(self.ctx))

    def _timed_out(self) -> None:
        self.ctx.log.error("timed out; its thread cannot be cut and keeps its processor until it returns")
        if not self._late and self.driver.wants_another(self, self._timeout_end()):
            self._late = True
            self.driver.report(self, TaskState.RUNNING, "timed out, waits for its thread to return")
            self._deadline = self.driver.after(max(self._timeout, GRACE), self._timed_out)  # it may never return
        else:
            self._end(self._timeout_end(again=False))

    def _returned(self, outcome: Outcome) -> None:
        if self._late:
            self._end(self._timeout_end())
        elif outcome.error is not None:
            self._end(End(state=TaskState.FAILED, error=outcome.error))
        elif not self._over:
            self._succeed(outcome.value)


def as_json(value: Any) -> Any:
    """Return ``value`` as what JSON can hold; a resource becomes its fields, a key that is a number text.

    Raises:
        TaskError: It is something else, or too much; names the type or the limit.
    """
    if _is_plain(value):
        return value
    try:
        text = json.dumps(value, default=_resource_fields, allow_nan=False)
        plain = json.loads(text, object_pairs_hook=_with_own_keys)
        too_deep = _deeper_than(plain, _DEEPEST)
    except RecursionError:
        too_deep = True
    except (TypeError, ValueError) as error:
        what = f"returned a value that is not JSON: {error}"
        raise TaskError(what, hint="return numbers, text, lists, dicts or resources") from None
    if too_deep:
        raise TaskError(f"returned a value that is nested more than {_DEEPEST} levels deep", hint="return a flat list")
    if len(text) > _LARGEST:
        what = (
            f"returned {len(text) / 1e6:.0f} MB of JSON, more than the {_LARGEST / 1e6:.0f} MB that a result may have"
        )
        raise TaskError(what, hint="write it to a table or an object, and return that")
    return plain


def _is_plain(value: Any) -> bool:
    """Whether a value is, without a look at its parts, what it would be if it were written as JSON and read again."""
    if value is None or value is True or value is False:
        return True
    return (type(value) is str and len(value) < 1000) or (type(value) is int and -(2**63) < value < 2**63)


def _resource_fields(value: object) -> Any:
    if isinstance(value, Resource):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__}")


def _with_own_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"two keys of a dict are both {twice!r} as text")
    return found


def _deeper_than(value: Any, levels: int) -> bool:
    parts = [value]
    for _ in range(levels + 1):
        parts = [part for part in parts if isinstance(part, (dict, list))]
        if not parts:
            return False
        parts = [below for part in parts for below in (part.values() if isinstance(part, dict) else part)]
    return True
