"""A queue of changes that one thread makes durable, many at a time: whoever changes something does not wait for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Generic, NamedTuple, TypeVar

#: Seconds between the starts of two commits, unless somebody waits.
_LINGER = 0.05
#: So many changes may wait to be written before whoever adds to it should stop for a while.
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
        self._queue: deque[_Change | _Mark] = deque()
        #: Thread -> where it puts what is to be written as a whole, and those of them that are open.
        self._units: dict[int, _Unit[_Change]] = {}
        self._open: dict[int, _Unit[_Change]] = {}
        #: When the last commit began, on a clock that never goes back; what comes first is not alone for long, either.
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        #: Whether the thread has nothing in hand and sleeps, or was never needed, or has failed.
        self._idle = True
        #: Wakes the thread; too often does no harm.
        self._signal: SimpleQueue[None] = SimpleQueue()
        self._hurried = False
        self._closed = False
        self._failure: BaseException | None = None
        self._raised = False
        self._tell: Callable[[BaseException], None] | None = None

    def add(self, change: _Change) -> None:
        """Have a change written soon; inside :meth:`together` as a part of that."""
        if self._open and (unit := self._open.get(get_ident())) is not None:
            unit.changes.append(change)
        else:
            self._queue.append(change)
            if self._idle:
                self._rouse()

    def add_and_settle(self, change: _Change) -> None:
        """Have a change written, and wait for it; inside :meth:`together` once that ends."""
        self.add(change)
        unit = self._open.get(get_ident())
        if unit is None:
            self.settled()
        else:
            unit.then.append(self.settled)

    def together(self) -> AbstractContextManager[None]:
        """Have what this thread adds inside written as a whole; not at all if what is inside raises."""
        thread = get_ident()
        return self._units.get(thread) or self._units.setdefault(thread, _Unit(thread, self._open, self._queue_up))

    def afterwards(self, action: Callable[[], None]) -> None:
        """Have this called in the journal's thread, which it must not wait for, once all is durable that was added."""
        unit = self._open.get(get_ident())
        if unit is None:
            self._queue_up([_Mark(lambda failure: action() if failure is None else None)])
        else:
            unit.then.append(partial(self.afterwards, action))

    def settled(self) -> None:
        """Wait until all is durable that was added before; what is still open in :meth:`together` excepted.

        Raises:
            BaseException: What ``write`` raised: it is not, and never will be.
        """
        self.drained()
        if self._failure is not None:
            raise self._why()

    def drained(self) -> None:
        """Wait until nothing is left to be written of what was added before, be it that it cannot be."""
        if self._failure is None and (self._queue or not self._idle):
            done: SimpleQueue[BaseException | None] = SimpleQueue()
            self._queue_up([_Mark(done.put)])
            self._hurry()
            if self._failure is None:  # else the queue may have been dropped before this was in it
                done.get()

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """Have this called, once, when something could not be written; only the last one asked for is."""
        self._tell = callback

    @property
    def behind(self) -> bool:
        """Whether so much waits to be written that whoever adds to it should stop until it is :meth:`settled`."""
        return len(self._queue) > _MANY

    def close(self) -> None:
        """Write what is left, and end the thread; nothing can be added any more.

        Raises:
            BaseException: What ``write`` raised, unless it was raised before.
        """
        self._closed = True
        self._hurry()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None and not self._raised:
            raise self._why()

    # the queue ---------------------------------------------------------------------------------------------------

    def _queue_up(self, items: Sequence[_Change | _Mark]) -> None:
        self._queue.extend(items)  # which nothing can come between: what is taken ends before or after all of them
        if self._idle:
            self._rouse()

    def _rouse(self) -> None:
        if self._failure is not None:
            raise self._why()
        if self._closed:
            raise ValueError("it is closed")
        with self._starting:
            if self._thread is None:
                # A process whose owner forgot to close must be able to end: that loses no more than a kill.
                self._thread = threading.Thread(target=self._run, name="pydag-journal", daemon=True)
                self._thread.start()
        self._idle = False  # before it awakes, as it is the one that says otherwise
        self._signal.put(None)

    def _hurry(self) -> None:
        self._hurried = True
        self._signal.put(None)

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
                return
        self._idle = True

    def _sleep(self) -> None:
        """Wait for something to write; soon after a commit a little longer, for what can be written with it."""
        self._idle = True
        if not self._queue and not self._closed:  # looked at after it was said that nobody would
            self._signal.get()
        self._idle = False
        due = self._began + _LINGER
        while not self._hurried and (left := due - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._signal.get(timeout=left)
        self._hurried = self._closed  # before it is looked what there is: whoever waits has put it there
        self._began = time.monotonic()

    def _take(self) -> tuple[list[_Change], list[_Then]]:
        changes: list[_Change] = []
        then: list[_Then] = []
        queue = self._queue
        for _ in range(len(queue)):
            item = queue.popleft()
            if isinstance(item, _Mark):
                then.append(item.tell)
            else:
                changes.append(item)
        return changes, then

    def _fail(self, error: BaseException, then: list[_Then]) -> None:
        self._failure = error
        self._idle = True  # so that whoever adds to it finds out
        for tell in (*then, *self._take()[1]):
            tell(error)
        if self._tell is not None:
            self._tell(error)


class _Mark(NamedTuple):
    """A place in the queue.

    Attributes:
        tell: Called when all before it is durable.
    """

    tell: _Then


class _Unit(Generic[_Change]):
    """What a thread has open, to be written as a whole; a context manager.

    Args:
        thread: The thread.
        opened: Where a thread finds what it has open.
        put: Takes the changes when it ends.

    Attributes:
        changes: Those made so far.
        then: What is to be done once they are queued.
    """

    __slots__ = ("_depth", "_opened", "_put", "_thread", "changes", "then")

    def __init__(self, thread: int, opened: dict[int, _Unit[_Change]], put: Callable[[list[_Change]], None]) -> None:
        self.changes: list[_Change] = []
        self.then: list[Callable[[], None]] = []
        self._thread = thread
        self._opened = opened
        self._put = put
        self._depth = 0

    def __enter__(self) -> None:
        self._depth += 1
        self._opened[self._thread] = self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        del self._opened[self._thread]
        changes, then = self.changes, self.then
        self.changes, self.then = [], []
        if kind is None:
            if changes:
                self._put(changes)
            for action in then:
                action()
