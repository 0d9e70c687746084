"""Faults on request, so that tests and rehearsals can see what a pipeline does when the cloud misbehaves.

The HTTP and gRPC layers tell :meth:`Faults.arrived` of each API call, and do what it says. The same place records the
calls, which is what tests assert on, what rehearsals go through, and how the daemon knows that it is idle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from pydag_gcp.local.calls import Call, Calls
from pydag_gcp.local.subjects import NOTHING, Subject

#: What each kind of fault does to a call.
KINDS = {
    "429": "refuse without doing the work: too many requests",
    "500": "refuse without doing the work: internal error",
    "503": "refuse without doing the work: service unavailable",
    "unavailable": "the same as 503, by its gRPC name",
    "accepted-503": "do the work, then answer 503",
    "lost-answer": "do the work, then close the connection with no answer",
    "reset": "reset the connection without doing the work",
    "latency": "wait, then do the work and answer",
    "pending": "accept the job, and let it begin only after some seconds",
    "hold": "keep the call waiting until it is released, then close the connection without doing the work",
    "accepted-hold": "do the work, keep the answer until it is released, then close the connection with no answer",
}

#: The fault of the calls that make jobs which can wait.
PENDING = "pending"
_MAKES_JOBS = "bigquery.jobs.insert"
#: A call that is held is released by itself after so long, in seconds.
LONGEST_HOLD = 600.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is to happen to one call.

    Attributes:
        kind: One of :data:`KINDS`.
        seconds: How long to wait before anything else happens.
    """

    kind: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """A fault that is asked for.

    Attributes:
        method: The API method, such as ``bigquery.jobs.insert``; ``*`` matches anything.
        kind: One of :data:`KINDS`.
        call: Which of the calls that match, from now on; 1 is the next one.
        times: For how many of these calls in a row.
        seconds: How long each of them waits first.
        task: Only calls for the work of this task, if any.
        resource: Only calls about this resource, if any, as :class:`~pydag_gcp.local.subjects.Subject` has it; ``*``
            matches anything.
        over: Only calls about what is over (True) or is not known to be (False), if any.

    Raises:
        ValueError: An argument has no meaning.
    """

    method: str
    kind: str
    call: int = 1
    times: int = 1
    seconds: float = 0.0
    task: str | None = None
    resource: str | None = None
    over: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r} is none of {', '.join(KINDS)}")
        if self.call < 1 or self.times < 1 or self.seconds < 0:
            raise ValueError(f"fault for {self.method!r}: call and times start at 1, and seconds at 0")
        if self.kind == PENDING and self.method != _MAKES_JOBS:
            raise ValueError(f"fault {PENDING!r} is one of {_MAKES_JOBS}, not of {self.method}")

    def matches(self, call: Call) -> bool:
        """Tell whether a call is one of those that this is about."""
        subject = call.subject
        return (
            fnmatchcase(call.method, self.method)
            and self.task in (None, subject.task)
            and (self.resource is None or fnmatchcase(subject.resource, self.resource))
            and self.over in (None, subject.over)
        )


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A call that has arrived, and what is to happen to it."""

    call: Call
    fault: Fault | None


@dataclass
class Faults:
    """The faults asked for and the calls seen; safe to use from many threads."""

    _orders: list[Order] = field(default_factory=list)
    _calls: Calls = field(default_factory=Calls)
    _known: set[str] = field(default_factory=set)
    _held: dict[int, Call] = field(default_factory=dict)
    _holds: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _released: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self._released = threading.Condition(self._lock)

    def know(self, methods: Iterable[str]) -> None:
        """Tell which methods exist, so that a fault for a misspelt one is refused instead of never happening."""
        with self._lock:
            self._known.update(methods)

    def add(self, method: str, *, kind: str, call: int = 1, times: int = 1, seconds: float = 0.0) -> None:
        """Ask for a fault of any call of a method: see :class:`Order`."""
        self.order(Order(method=method, kind=kind, call=call, times=times, seconds=seconds))

    def order(self, order: Order) -> None:
        """Ask for a fault.

        Raises:
            ValueError: No known method of that service matches.
        """
        with self._lock:
            service = order.method.partition(".")[0]
            rivals = [known for known in self._known if known.partition(".")[0] == service]
            if rivals and not any(fnmatchcase(known, order.method) for known in rivals):
                raise ValueError(f"no method of {service!r} matches {order.method!r}")
            self._orders.append(order)

    def arrived(self, method: str, subject: Subject = NOTHING) -> Arrival:
        """Record a call, and tell what is to happen to it.

        Each order counts the calls that match it by itself; of two that are due at once the older one happens, and the
        other one stays due.
        """
        with self._lock:
            call = self._calls.arrived(method, subject)
            due = self._due(call)
            if due is not None:
                self._calls.disturbed(due.kind)
            return Arrival(call=call, fault=due)

    def _due(self, call: Call) -> Fault | None:
        left, due = [], None
        for order in self._orders:
            if not order.matches(call):
                left.append(order)
            elif order.call > 1:
                left.append(replace(order, call=order.call - 1))
            elif due is not None:
                left.append(order)
            else:
                due = Fault(kind=order.kind, seconds=order.seconds)
                if order.times > 1:
                    left.append(replace(order, times=order.times - 1))
        self._orders = left
        return due

    def answered(self, call: Call, answer: Subject) -> None:
        """Record what the answer to a call says of the job that it is about."""
        with self._lock:
            self._calls.answered(call, answer)

    def hold(self, call: Call) -> None:
        """Wait until the calls that are held are released."""
        with self._released:
            self._holds += 1
            ours = self._holds
            self._held[ours] = call
            self._released.wait_for(lambda: ours not in self._held, timeout=LONGEST_HOLD)
            self._held.pop(ours, None)

    def release(self) -> None:
        """Let go of every call that is held."""
        with self._released:
            self._held.clear()
            self._released.notify_all()

    def held(self) -> list[Call]:
        """Return the calls that are held now."""
        with self._lock:
            return list(self._held.values())

    def clear(self) -> None:
        """Forget every fault and every call, and let go of those that are held."""
        with self._lock:
            self._orders.clear()
            self._calls.clear()
        self.release()

    def calls(self) -> dict[str, int]:
        """Return how often each method was called since the start or the last :meth:`clear`."""
        with self._lock:
            return dict(self._calls.counts)

    def details(self) -> list[Call]:
        """Return the calls since then, the oldest first; of very many only the last."""
        with self._lock:
            return list(self._calls)
