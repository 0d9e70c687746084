"""A queue of changes that a thread of its own makes durable."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence

import pytest

from pydag_gcp import journal
from pydag_gcp.journal import Journal

#: In seconds; nothing takes so long.
FOREVER = 30


class Disk:
    """Takes batches of changes, when it is let, and may fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()
        self.error: BaseException | None = None

    def write(self, changes: Sequence[int]) -> None:
        self.busy.set()
        assert self.free.wait(FOREVER)
        if self.error is not None:
            raise self.error
        self.batches.append(list(changes))

    @property
    def written(self) -> list[int]:
        return [change for batch in self.batches for change in batch]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def queue(disk: Disk) -> Iterator[Journal[int]]:
    queue = Journal(disk.write)
    yield queue
    disk.free.set()
    queue.close()


def stuck(queue: Journal[int], disk: Disk, change: int = 0) -> None:
    """Have the disk take a change, and be busy with it."""
    disk.free.clear()
    disk.busy.clear()
    queue.add(change)
    assert disk.busy.wait(FOREVER)


def test_whoever_adds_does_not_wait_and_what_was_added_meanwhile_is_written_at_once(
    queue: Journal[int], disk: Disk
) -> None:
    stuck(queue, disk)
    for change in range(1, 100):
        queue.add(change)
    assert disk.batches == []
    disk.free.set()
    queue.settled()
    assert disk.batches == [[0], list(range(1, 100))]


def test_what_is_settled_is_written_and_nothing_is_done_where_nothing_is_queued(
    queue: Journal[int], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LINGER", FOREVER)  # whoever waits does not wait for that
    threads = threading.active_count()
    queue.settled()
    assert threading.active_count() == threads
    for change in range(3):
        queue.add(change)
        queue.settled()
        assert disk.written == list(range(change + 1))
    queue.settled()
    assert len(disk.batches) == 3


def test_what_is_added_after_a_while_is_written_at_once_and_what_follows_a_little_later(
    queue: Journal[int], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a journal that writes every other minute, and has not for long
    monkeypatch.setattr(journal, "_LINGER", 2 * FOREVER)
    queue._began -= 3 * FOREVER
    # Then the first change is not waited with
    queue.add(1)
    assert disk.busy.wait(FOREVER)
    # And what comes then is written together, as soon as anybody waits for it
    for change in (2, 3):
        queue.add(change)
    queue.settled()
    assert disk.batches == [[1], [2, 3]]


def test_what_nobody_waits_for_is_written_nevertheless(queue: Journal[int], disk: Disk) -> None:
    for change in range(3):
        disk.busy.clear()
        queue.add(change)
        assert disk.busy.wait(FOREVER)
    queue.settled()
    assert disk.written == [0, 1, 2]


def test_many_that_wait_are_served_by_one_commit(queue: Journal[int], disk: Disk) -> None:
    stuck(queue, disk)
    seen: list[bool] = []

    def submit(number: int) -> None:
        queue.add(number)
        queue.settled()
        seen.append(number in disk.written)

    threads = [threading.Thread(target=submit, args=[number]) for number in range(1, 33)]
    for thread in threads:
        thread.start()
    while len(queue._queue) < 64:
        pass
    disk.free.set()
    for thread in threads:
        thread.join()
    assert seen == [True] * 32
    assert [len(batch) for batch in disk.batches] == [1, 32]


def test_a_unit_is_never_parted_and_order_is_kept_whoever_adds(queue: Journal[int], disk: Disk) -> None:
    # Given threads that add units of different sizes, and now and then wait
    chance = random.Random(7)
    plans = [[chance.randint(1, 5) for _ in range(200)] for _ in range(4)]

    def drive(thread: int) -> None:
        number = 0
        for place, size in enumerate(plans[thread]):
            with queue.together():
                for left in reversed(range(size)):
                    queue.add(thread * 100_000 + number * 10 + left)
                    number += 1
            if place % 17 == 0:
                queue.settled()

    threads = [threading.Thread(target=drive, args=[thread]) for thread in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    queue.settled()
    # Then each batch ends where a unit does, and each thread's changes are in the order in which it made them
    assert {batch[-1] % 10 for batch in disk.batches} == {0}
    for thread in range(4):
        own = [change // 10 for change in disk.written if change // 100_000 == thread]
        assert own == list(range(thread * 10_000, thread * 10_000 + sum(plans[thread])))


def test_what_raises_inside_is_not_written_and_what_is_inside_that_belongs_to_it(
    queue: Journal[int], disk: Disk
) -> None:
    done: list[str] = []
    with pytest.raises(ZeroDivisionError), queue.together():  # noqa: PT012 - what is inside is the point
        queue.add(1)
        queue.afterwards(lambda: done.append("never"))
        raise ZeroDivisionError
    with queue.together():
        queue.add(2)
        with queue.together():
            queue.add_and_settle(3)
            queue.afterwards(lambda: done.append("then"))
        queue.settled()
        assert (disk.batches, done) == ([], [])
        queue.add(4)
    # Then it was waited for, as one change of it asked for that
    assert disk.batches == [[2, 3, 4]]
    queue.settled()
    assert done == ["then"]


def test_afterwards_is_when_it_is_durable(queue: Journal[int], disk: Disk) -> None:
    seen: list[list[int]] = []
    queue.add(1)
    queue.afterwards(lambda: seen.append(disk.written))
    queue.add(2)
    queue.settled()
    assert seen[0][0] == 1


def test_who_adds_too_much_is_told(queue: Journal[int], disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_MANY", 10)
    stuck(queue, disk)
    behind = []
    for change in range(4):
        with queue.together():
            for _ in range(4):
                queue.add(change)
        behind.append(queue.behind)
    assert behind == [False, False, True, True]
    disk.free.set()
    queue.settled()
    assert not queue.behind


def test_after_a_failure_nothing_is_written_and_whoever_comes_is_told(queue: Journal[int], disk: Disk) -> None:
    told: list[BaseException] = []
    raised: list[BaseException] = []
    done: list[str] = []

    def wait() -> None:
        try:
            queue.settled()
        except OSError as error:
            raised.append(error)

    # Given changes that are being written, some that wait, and threads that wait for them
    queue.on_failure(told.append)
    stuck(queue, disk)
    queue.add(1)
    queue.afterwards(lambda: done.append("never"))
    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    # When the disk is full
    disk.error = OSError("full")
    disk.free.set()
    for thread in threads:
        thread.join()
    # Then all of them are told, and so is whoever adds something later, though there is room again
    assert raised == [disk.error] * 3
    disk.error = None
    for method in (queue.settled, lambda: queue.add(2), lambda: queue.add_and_settle(2)):
        with pytest.raises(OSError, match="full"):
            method()
    with pytest.raises(OSError, match="full"), queue.together():
        queue.add(3)
    assert [str(error) for error in told] == ["full"]
    assert (disk.batches, done) == ([], [])


def test_a_failure_that_nobody_was_told_is_raised_at_the_end(disk: Disk) -> None:
    disk.error = OSError("full")
    queue = Journal(disk.write)
    queue.add(1)
    with pytest.raises(OSError, match="full"):
        queue.close()
    queue.close()


def test_what_is_left_is_written_at_the_end_and_nothing_can_be_added_then(disk: Disk) -> None:
    queue = Journal(disk.write)
    threads = threading.active_count()
    for change in range(1000):
        queue.add(change)
    queue.close()
    assert disk.written == list(range(1000))
    assert threading.active_count() == threads
    with pytest.raises(ValueError, match="closed"):
        queue.add(1)
    queue.close()


def test_no_change_is_forgotten_in_the_moment_when_the_thread_goes_to_sleep(
    queue: Journal[int], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a thread that sleeps and awakes as often as it can, and nobody who waits for it
    monkeypatch.setattr(journal, "_LINGER", 0.0)
    for change in range(500):
        disk.busy.clear()
        queue.add(change)
        assert disk.busy.wait(FOREVER)
    queue.settled()
    assert disk.written == list(range(500))
