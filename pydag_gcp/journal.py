"""A queue of changes that one thread makes durable, many at a time: whoever changes something does not wait for it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Generic, TypeVar

#: Seconds between the starts of two commits, as long as more comes and nobody waits.
_LINGER = 0.02
#: Once nothing more came for so many seconds there is nothing to wait for.
_QUIET = 0.001
#: So many changes may wait to be written before whoever adds to them should stop for a while.
_MANY = 20_000

_Change = TypeVar("_Change")
#: Told once what was queued before is durable, or why it never will be.
_Then = Callable[[BaseException | None], None]


class Journal(Generic[_Change]):
    """Changes in the order in which they were added, written by a thread of its own.

    Any thread may add to it. Once something could not be written nothing is any more, and every method raises why.

    Args:
        write: Makes changes durable, all of them or none; called in the journal's thread.
    """

    def __init__(self, write: Callable[[Sequence[_Change]], None]) -> None:
        self._write = write
        self._queue: deque[list[_Change] | _Then] = deque()
        self._mine = _Mine(self._put)
        #: Changes that were queued, and those of them that the thread has in hand or has written.
        self._added = self._taken = 0
        #: When the last commit began, on a clock that never goes back.
        self._began = -math.inf
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        #: Whether the thread has nothing in hand and sleeps, or was never needed.
        self._idle = True
        self._awake = threading.Event()
        self._hurried = threading.Event()
        self._closed = False
        self._failure: BaseException | None = None
        self._raised = False
        self._tell: Callable[[BaseException], None] | None = None

    def add(self, change: _Change) -> None:
        """Have a change written soon; inside :meth:`together` as a part of that."""
        changes = self._mine.unit.changes
        if changes is None:
            self._put([change])
        else:
            changes.append(change)

    def add_and_settle(self, change: _Change) -> None:
        """Have a change written, and wait for it; inside :meth:`together` once that ends."""
        self.add(change)
        unit = self._mine.unit
        if unit.changes is None:
            self.settled()
        else:
            unit.then.append(self.settled)

    def together(self) -> AbstractContextManager[None]:
        """Have what this thread adds inside written as a whole; not at all if what is inside raises."""
        return self._mine.unit

    def afterwards(self, action: Callable[[], None]) -> None:
        """Have this called in the journal's thread, which it must not wait for, once all is durable that was added."""
        unit = self._mine.unit
        if unit.changes is None:
            self._queue_up(lambda failure: action() if failure is None else None)
        else:
            unit.then.append(partial(self.afterwards, action))

    def settled(self) -> None:
        """Wait until all is durable that was added before; what is still open in :meth:`together` excepted.

        Raises:
            BaseException: What ``write`` raised: it is not, and never will be.
        """
        if self._failure is None and (self._queue or not self._idle):
            durable = threading.Event()
            self._queue_up(lambda _: durable.set())
            self._hurried.set()
            if self._failure is None:  # else the queue may have been dropped before this was in it
                durable.wait()
        if self._failure is not None:
            raise self._why()

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """Have this called, once, when something could not be written; only the last one asked for is."""
        self._tell = callback

    @property
    def behind(self) -> bool:
        """Whether so much waits to be written that whoever adds to it should stop until it is :meth:`settled`."""
        return self._added - self._taken > _MANY

    def close(self) -> None:
        """Write what is left, and end the thread; nothing can be added any more.

        Raises:
            BaseException: What ``write`` raised, unless it was raised before.
        """
        self._closed = True
        self._hurried.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None and not self._raised:
            raise self._why()

    # the queue ---------------------------------------------------------------------------------------------------

    def _put(self, changes: list[_Change]) -> None:
        self._added += len(changes)
        self._queue_up(changes)

    def _queue_up(self, item: list[_Change] | _Then) -> None:
        if self._failure is not None:
            raise self._why()
        self._queue.append(item)
        if self._idle:
            self._rouse()

    def _rouse(self) -> None:
        if self._closed:
            raise ValueError("it is closed")
        with self._starting:
            if self._thread is None:
                # A process whose owner forgot to close must be able to end: that loses no more than a kill.
                self._thread = threading.Thread(target=self._run, name="pydag-journal", daemon=True)
                self._thread.start()
        self._idle = False  # before it awakes, as it is the one that says otherwise
        self._awake.set()

    def _why(self) -> BaseException:
        assert self._failure is not None  # noqa: S101 - the caller has looked
        self._raised = True
        return self._failure

    # the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._queue or not self._closed:
            self._sleep()
            changes, then = self._take()
            try:
                if changes:
                    self._write(changes)
                for tell in then:
                    tell(None)
            except BaseException as error:  # noqa: BLE001 - whoever adds or waits raises it
                self._fail(error, then)
                break
        self._idle = True

    def _sleep(self) -> None:
        """Wait for something to write; soon after a commit a little longer, for what can be written with it."""
        self._idle = True
        if not self._queue and not self._closed:  # looked at after it was said that nobody would
            self._awake.wait()
        self._awake.clear()
        self._idle = False
        due, seen = self._began + _LINGER, -1
        while self._added != seen and not self._closed and (left := due - time.monotonic()) > 0:
            seen = self._added
            if self._hurried.wait(min(left, _QUIET)):
                break
        self._hurried.clear()
        self._began = time.monotonic()

    def _take(self) -> tuple[list[_Change], list[_Then]]:
        changes: list[_Change] = []
        then: list[_Then] = []
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            if isinstance(item, list):
                changes += item
            else:
                then.append(item)
        self._taken += len(changes)
        return changes, then

    def _fail(self, error: BaseException, then: list[_Then]) -> None:
        self._failure = error
        for tell in (*then, *self._take()[1]):
            tell(error)
        if self._tell is not None:
            self._tell(error)


class _Unit:
    """What a thread has open, to be written as a whole; a context manager.

    Args:
        put: Takes the changes when it ends.

    Attributes:
        changes: Those made so far; None outside.
        then: What is to be done once they are queued.
    """

    __slots__ = ("_depth", "_put", "changes", "then")

    def __init__(self, put: Callable[[list[Any]], None]) -> None:
        self.changes: list[Any] | None = None
        self.then: list[Callable[[], None]] = []
        self._put = put
        self._depth = 0

    def __enter__(self) -> None:
        if self._depth == 0:
            self.changes = []
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        changes, self.changes = self.changes, None
        then, self.then = self.then, []
        if kind is None:
            if changes:
                self._put(changes)
            for action in then:
                action()


class _Mine(threading.local):
    """Each thread has a unit of its own."""

    def __init__(self, put: Callable[[list[Any]], None]) -> None:
        self.unit = _Unit(put)
