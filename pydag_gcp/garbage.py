"""Python's search for garbage, which looks again and again at all that a process holds and a run does not let go."""

from __future__ import annotations

import gc


class Frozen:
    """From now on nothing that is there is looked at, until the end of a ``with``; it stays as it is, and is much.

    Where somebody else has frozen something, all stays as it is: to unfreeze is to unfreeze everything.

    https://docs.python.org/3/library/gc.html#gc.freeze
    """

    def __init__(self) -> None:
        self._ours = not gc.get_freeze_count()
        self.more()

    def more(self) -> None:
        """The same for what was made since."""
        if self._ours:
            gc.freeze()

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        if self._ours:
            gc.unfreeze()
