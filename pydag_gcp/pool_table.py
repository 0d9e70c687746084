"""The table of a pool: what every run holds and claims, in memory that processes share.

It is made of words of eight bytes, each of which is written at once or not at all: whoever is killed between two of
them leaves a table that is still true. The order of writes sees to it that it never promises a processor twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from mmap import mmap

from pydag_gcp.shares import Claim, Member

#: Most runs at a time.
ENTRIES = 256
#: Kinds of claims of a run, by their slots.
CLAIMS = 8
#: Largest pool.
LARGEST = 4096
#: Seconds after which a run whose process does not look at its claims any more, as it is stopped, gets no more.
AWAKE = 1.0

_WORD = 8
_HEADER = 64
_ENTRY = 64
_BYTES_OF_NAME, _BYTES_OF_RUN_ID = 128, 64
BYTES = (_HEADER + ENTRIES * _ENTRY) * _WORD

# The header's words. The first names the layout, so it stands there in every version.
_MAGIC, _SIZE, _TOP, _WAITING, _LOOKED = range(5)
_LAYOUT = int.from_bytes(b"pydagP\x00\x01", "big")

# An entry's words; a claim has four, the last of which only people read.
_PID, _HELD, _QUOTA, _MOST, _WEIGHT, _SPENT, _SEEN, _JOINED, _FIRST_CLAIM = range(9)
_SLOTS, _TASKS, _SINCE, _READY, _CLAIM = range(5)
_TEXT = _FIRST_CLAIM + CLAIMS * _CLAIM


class Entry:
    """What one run holds and claims. Only ``held`` may be read without the table's lock, and ``ready`` be written.

    Args:
        table: Where it stands.
        index: Its position there.
    """

    __slots__ = ("_at", "_bytes", "_reals", "_words", "index")

    def __init__(self, table: PoolTable, index: int) -> None:
        self.index = index
        self._words, self._reals, self._bytes = table.words, table.reals, table.bytes
        self._at = _HEADER + index * _ENTRY

    def begin(self, *, pid: int, name: str, run_id: str, most: int, weight: float, now: float) -> None:
        """Be a run's; with its pid, which comes last, it counts."""
        at = self._at
        self._bytes[at * _WORD : (at + _ENTRY) * _WORD] = bytes(_ENTRY * _WORD)
        self._words[at + _MOST] = most
        self._reals[at + _WEIGHT] = weight
        self._reals[at + _JOINED] = now
        text = (at + _TEXT) * _WORD
        for value, start, room in ((name, text, _BYTES_OF_NAME), (run_id, text + _BYTES_OF_NAME, _BYTES_OF_RUN_ID)):
            encoded = value.encode()[:room].decode(errors="ignore").encode()
            self._bytes[start : start + len(encoded)] = encoded
        self._words[at + _PID] = pid

    def clear(self) -> None:
        """Be nobody's any more."""
        self._words[self._at + _HELD] = 0
        self._words[self._at + _PID] = 0

    @property
    def pid(self) -> int:
        """The run's process; 0: there is none."""
        return self._words[self._at + _PID]

    @property
    def held(self) -> int:
        """Processors that the run has: its own work's, and those at hand or just granted."""
        return self._words[self._at + _HELD]

    @held.setter
    def held(self, value: int) -> None:
        self._words[self._at + _HELD] = value

    @property
    def quota(self) -> int:
        """See :attr:`pydag_gcp.shares.Decision.quotas`."""
        return self._words[self._at + _QUOTA]

    @quota.setter
    def quota(self, value: int) -> None:
        if value != self._words[self._at + _QUOTA]:
            self._words[self._at + _QUOTA] = value

    @property
    def most(self) -> int:
        """Most processors that the run may have."""
        return self._words[self._at + _MOST]

    @property
    def weight(self) -> float:
        """Its share, in proportion to those of others."""
        return self._reals[self._at + _WEIGHT]

    @property
    def spent(self) -> float:
        """See :attr:`pydag_gcp.shares.Member.spent`."""
        return self._reals[self._at + _SPENT]

    @spent.setter
    def spent(self, value: float) -> None:
        self._reals[self._at + _SPENT] = value

    @property
    def seen(self) -> float:
        """When its process last looked at its claims; seconds, monotonic."""
        return self._reals[self._at + _SEEN]

    @seen.setter
    def seen(self, value: float) -> None:
        self._reals[self._at + _SEEN] = value

    @property
    def joined(self) -> float:
        """When the run joined; seconds since 1970."""
        return self._reals[self._at + _JOINED]

    @property
    def name(self) -> str:
        """What others see of it: the pipeline's id."""
        return self._text(0, _BYTES_OF_NAME)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._text(_BYTES_OF_NAME, _BYTES_OF_RUN_ID)

    def _text(self, start: int, room: int) -> str:
        start += (self._at + _TEXT) * _WORD
        return bytes(self._bytes[start : start + room]).rstrip(b"\0").decode(errors="replace")

    # claims ------------------------------------------------------------------------------------------------------

    def claim(self, number: int, *, slots: int, tasks: int, since: float) -> None:
        """Let a claim stand; of no tasks: none."""
        at = self._at + _FIRST_CLAIM + number * _CLAIM
        self._words[at + _TASKS] = 0
        self._words[at + _SLOTS] = slots
        self._reals[at + _SINCE] = since
        self._words[at + _TASKS] = tasks

    def tasks(self, number: int) -> int:
        """How many tasks of a claim still wait."""
        return self._words[self._at + _FIRST_CLAIM + number * _CLAIM + _TASKS]

    def since(self, number: int) -> float:
        """See :attr:`pydag_gcp.shares.Claim.since`."""
        return self._reals[self._at + _FIRST_CLAIM + number * _CLAIM + _SINCE]

    def ready(self, number: int) -> int:
        """How many tasks of the kind are ready, be it more than could ever be granted."""
        return self._words[self._at + _FIRST_CLAIM + number * _CLAIM + _READY]

    def set_ready(self, number: int, tasks: int) -> None:
        """Tell whoever watches how many tasks of the kind are ready."""
        self._words[self._at + _FIRST_CLAIM + number * _CLAIM + _READY] = tasks

    def grant(self, number: int, now: float) -> None:
        """Give a task of a claim its processors; first of all, so that nobody can take them for free."""
        at = self._at + _FIRST_CLAIM + number * _CLAIM
        slots = self._words[at + _SLOTS]
        self.held += slots
        self._words[at + _TASKS] -= 1
        self._reals[at + _SINCE] = now
        self.spent += slots / max(self.weight, 1e-9)

    @property
    def active(self) -> bool:
        """Whether the run holds or claims anything."""
        return self.held > 0 or self.waits

    @property
    def waits(self) -> bool:
        """Whether the run claims anything."""
        return any(self.tasks(number) > 0 for number in range(CLAIMS))

    def claims(self) -> dict[int, Claim]:
        """The claims that stand, by their numbers."""
        found = {}
        first = self._at + _FIRST_CLAIM
        for number in range(CLAIMS):
            at = first + number * _CLAIM
            tasks = self._words[at + _TASKS]
            if tasks > 0:
                slots = max(self._words[at + _SLOTS], 1)
                found[number] = Claim(slots=slots, tasks=min(tasks, LARGEST), since=self._reals[at + _SINCE])
        return found

    def member(self, claims: dict[int, Claim], now: float) -> Member:
        """The run as a decision sees it: whatever stands here, it is something one can reckon with."""
        awake = now - self.seen < AWAKE
        weight, spent = self.weight, self.spent
        return Member(
            held=max(self.held, 0),
            most=self.most,
            weight=weight if 0 < weight < math.inf else 1.0,
            spent=spent if spent == spent else 0.0,
            claims=tuple(claims.values()) if awake else (),
        )


class PoolTable:
    """The words of a table, and what stands in its header.

    Args:
        memory: Zeros, or a table of before.
    """

    def __init__(self, memory: mmap) -> None:
        self._view = memoryview(memory)
        self.bytes = self._view.cast("B")
        self.words = self.bytes.cast("q")
        self.reals = self.bytes.cast("d")

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self.words, self.reals, self.bytes, self._view):
            view.release()

    def begin(self, size: int) -> None:
        """Forget everything: nobody uses the table."""
        used = (_HEADER + self.words[_TOP] * _ENTRY) * _WORD if self.valid else BYTES  # what is untouched costs nothing
        self.words[_MAGIC] = 0
        self.bytes[_WORD:used] = bytes(used - _WORD)
        self.words[_SIZE] = size
        self.words[_MAGIC] = _LAYOUT

    @property
    def valid(self) -> bool:
        """Whether it is a table that this version can read."""
        return self.words[_MAGIC] == _LAYOUT and 1 <= self.size <= LARGEST and 0 <= self.words[_TOP] <= ENTRIES

    @property
    def size(self) -> int:
        """Processors of the pool."""
        return self.words[_SIZE]

    @property
    def waiting(self) -> int:
        """How many claims stand; may be read without the lock."""
        return self.words[_WAITING]

    @waiting.setter
    def waiting(self, value: int) -> None:
        if value != self.words[_WAITING]:
            self.words[_WAITING] = value

    @property
    def looked(self) -> float:
        """When somebody last looked for dead processes; seconds, monotonic."""
        return self.reals[_LOOKED]

    @looked.setter
    def looked(self, value: float) -> None:
        self.reals[_LOOKED] = value

    def entries(self) -> Iterator[Entry]:
        """All runs."""
        for index in range(min(self.words[_TOP], ENTRIES)):
            entry = Entry(self, index)
            if entry.pid:
                yield entry

    def vacant(self) -> Entry | None:
        """The first entry that is nobody's; None: the table is full."""
        for index in range(ENTRIES):
            entry = Entry(self, index)
            if not entry.pid:
                self.words[_TOP] = max(self.words[_TOP], index + 1)
                return entry
        return None

    def shrink(self) -> None:
        """Look only as far as there are runs."""
        self.words[_TOP] = max((entry.index + 1 for entry in self.entries()), default=0)
