"""Faults on request, so that tests and rehearsals can see what a pipeline does when the cloud misbehaves.

The HTTP and gRPC layers ask :meth:`Faults.before` once per API call, and do what the answer says. The same place counts
the calls, which is what tests assert on and how the daemon knows that it is idle.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

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
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is to happen to one call.

    Attributes:
        kind: One of :data:`KINDS`.
        seconds: How long to wait before anything else happens.
    """

    kind: str
    seconds: float = 0.0


@dataclass(kw_only=True)
class _Order:
    """A fault that was asked for, and what is left of it."""

    pattern: str
    fault: Fault
    calls_to_skip: int
    times: int


@dataclass
class Faults:
    """The faults asked for and the calls seen; safe to use from many threads."""

    _orders: list[_Order] = field(default_factory=list)
    _calls: Counter[str] = field(default_factory=Counter)
    _known: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def know(self, methods: Iterable[str]) -> None:
        """Tell which methods exist, so that a fault for a misspelt one is refused instead of never happening."""
        with self._lock:
            self._known.update(methods)

    def add(self, method: str, *, kind: str, call: int = 1, times: int = 1, seconds: float = 0.0) -> None:
        """Ask for a fault.

        Args:
            method: The API method, such as ``bigquery.jobs.insert``; ``*`` matches anything.
            kind: One of :data:`KINDS`.
            call: Which of the method's calls from now on; 1 is the next one.
            times: For how many calls in a row.
            seconds: How long each of those calls waits first.

        Raises:
            ValueError: An argument has no meaning, or no known method of that service matches.
        """
        if kind not in KINDS:
            raise ValueError(f"fault {kind!r} is none of {', '.join(KINDS)}")
        if call < 1 or times < 1 or seconds < 0:
            raise ValueError(f"fault for {method!r}: call and times start at 1, and seconds at 0")
        with self._lock:
            service = method.partition(".")[0]
            rivals = [known for known in self._known if known.partition(".")[0] == service]
            if rivals and not any(fnmatchcase(known, method) for known in rivals):
                raise ValueError(f"no method of {service!r} matches {method!r}")
            fault = Fault(kind=kind, seconds=seconds)
            self._orders.append(_Order(pattern=method, fault=fault, calls_to_skip=call - 1, times=times))

    def before(self, method: str) -> Fault | None:
        """Count a call, and tell what is to happen to it.

        Each order counts the calls that match it by itself; of two that are due at once the older one happens, and the
        other one stays due.
        """
        with self._lock:
            self._calls[method] += 1
            due = None
            for order in self._orders:
                if not fnmatchcase(method, order.pattern):
                    continue
                if order.calls_to_skip:
                    order.calls_to_skip -= 1
                elif due is None:
                    due = order
            if due is None:
                return None
            due.times -= 1
            if not due.times:
                self._orders.remove(due)
            return due.fault

    def clear(self) -> None:
        """Forget every fault and every count."""
        with self._lock:
            self._orders.clear()
            self._calls.clear()

    def calls(self) -> dict[str, int]:
        """Return how often each method was called since the start or the last :meth:`clear`."""
        with self._lock:
            return dict(self._calls)
