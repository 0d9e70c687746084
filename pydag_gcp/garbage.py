"""Python's search for garbage, which looks again and again at all that a process holds and a run does not let go."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

#: So many objects are made, and not let go, before the newest are looked through, where tasks are made by the thousand.
_MANY = 20_000

#: Whether we have frozen something for good: to count what is frozen takes as long as a run of some tasks.
_for_good = False


@contextlib.contextmanager
def seldom() -> Iterator[None]:
    """Have it searched less often, until the end of a ``with``: most of what is made inside stays.

    Where somebody else has said how often, be it never, that holds.

    https://docs.python.org/3/library/gc.html#gc.set_threshold
    """
    before = gc.get_threshold()[0]
    ours = 0 < before < _MANY
    if ours:
        gc.set_threshold(_MANY)
    try:
        yield
    finally:
        if ours and gc.get_threshold()[0] == _MANY:
            gc.set_threshold(before)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Look for none in what is made inside, now or ever: it stays, and to look takes a quarter of the start."""
    global _for_good
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        _for_good = True
        if searched:
            gc.enable()


class Frozen:
    """Inside a ``with``, nothing is looked at that was there when it began; it stays as it is, and is much.

    Where somebody else has frozen something, all stays as it is: to unfreeze is to unfreeze everything.

    https://docs.python.org/3/library/gc.html#gc.freeze
    """

    _ours = False

    def __enter__(self) -> None:
        self._ours = not _for_good and not gc.get_freeze_count()
        self.more()

    def more(self) -> None:
        """The same for what was made since."""
        if self._ours:
            gc.freeze()

    def __exit__(self, *_: object) -> None:
        self.more()  # or the newest of it would be searched at once
        if self._ours:
            gc.unfreeze()
