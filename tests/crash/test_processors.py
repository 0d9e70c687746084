"""The pool of a machine, whose processes are killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pydag_gcp import processors
from pydag_gcp.pool import MOMENT, opened
from pydag_gcp.pool_memory import PoolFile, file_in
from tests.conftest import reaped

HOLDER = Path(__file__).parent / "holder.py"
SIZE = 3
#: Longer by hand.
SECONDS = float(os.environ.get("PYDAG_TEST_SECONDS", "1.5"))


@contextmanager
def holder(folder: Path, *options: str, seed: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A process that holds processors; killed in the end."""
    command = [sys.executable, str(HOLDER), str(folder), str(SIZE), str(seed), *options]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def joined(folder: Path, name: str = "test") -> Iterator[tuple[processors.Share, threading.Semaphore]]:
    rung = threading.Semaphore(0)
    share = processors.join(name, run_id="run", size=SIZE, granted=rung.release, folder=folder)
    try:
        yield share, rung
    finally:
        share.leave()


def take_all(share: processors.Share, rung: threading.Semaphore) -> None:
    """Take what there is, however long it takes."""
    while share.held < SIZE:
        while share.take(1, SIZE - share.held):
            pass
        share.rest()
        if share.held < SIZE:
            assert rung.acquire(timeout=10), f"only {share.held} of {SIZE} processors are ever free"


def test_no_more_processors_are_held_than_there_are_whoever_is_killed_and_when(tmp_path: Path) -> None:
    # Given processes that take and give as fast as they can
    chance = random.Random(int(os.environ.get("PYDAG_TEST_SEED", "1")))
    with ExitStack() as stack:
        living = {seed: stack.enter_context(holder(tmp_path, seed=seed)) for seed in range(4)}
        for process in living.values():
            assert said(process) == "begun"
        # When one after another is killed, and another one comes
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(chance.random() * 0.1)
            seed = chance.choice(sorted(living))
            process = living.pop(seed)
            assert process.poll() is None, process.communicate()[1]
            process.kill()
            living[max(living) + 1] = stack.enter_context(holder(tmp_path, seed=max(living) + 1))
        # Then none of them ever got one that another one held, and none of them waits for ever
        for process in living.values():
            if said(process) == "begun":
                assert process.poll() is None, process.communicate()[1]
        assert (tmp_path / "progress").stat().st_size > 0
    # And nothing is lost in the end
    with joined(tmp_path) as (share, rung):
        take_all(share, rung)
    assert len(list(tmp_path.glob("bell-*"))) < 40


def test_a_killed_process_frees_what_it_held(tmp_path: Path) -> None:
    # Given a process that holds everything, and a run that waits
    with holder(tmp_path, "--hold") as process, joined(tmp_path) as (share, rung):
        assert said(process) == str(SIZE)
        assert not share.take(1, SIZE)
        share.rest()
        # When it is killed
        process.kill()
        # Then the one that waits is told, and finds all of it
        assert rung.acquire(timeout=10)
        assert [share.take(1) for _ in range(SIZE)] == [True] * SIZE


def test_a_stopped_process_keeps_what_it_holds_and_holds_nobody_else_up(tmp_path: Path) -> None:
    # Given a process that holds two and is stopped
    with joined(tmp_path) as (share, rung):
        assert share.take(1)
        share.rest()
        with holder(tmp_path, "--hold") as process:
            assert said(process) == "2"
            process.send_signal(signal.SIGSTOP)
            # When a run goes on
            for _ in range(100):
                share.give(1)
                assert share.take(1)
                share.rest()
            # Then it gets none of the two before that one ends
            assert not share.take(1)
            share.rest()
            process.send_signal(signal.SIGCONT)
            assert not share.take(1)
            share.rest()
        take_all(share, rung)


def test_what_a_stopped_process_waits_for_goes_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run that holds everything, and a process that waits and is stopped
    monkeypatch.setattr("pydag_gcp.pool_table.AWAKE", 0.2)
    with joined(tmp_path) as (share, rung), joined(tmp_path, "other") as (other, _):
        take_all(share, rung)
        with holder(tmp_path, seed=1) as process, opened(tmp_path) as pool:
            assert said(process) == "begun"
            waiter = next(entry for entry in pool.table.entries() if entry.pid == process.pid)
            stopped = False
            while not stopped:  # not while it has the lock of the table, which would hold everybody up
                process.send_signal(signal.SIGCONT)
                while not waiter.waits:
                    time.sleep(0.01)
                process.send_signal(signal.SIGSTOP)
                with pool.locked(MOMENT) as stopped:
                    pass
            while time.monotonic() - waiter.seen < 0.2:
                time.sleep(0.01)
            # When the run gives all of it back
            for _ in range(SIZE):
                share.give(1)
            share.rest()
            # Then all of it is there for another one
            assert all(other.take(1) for _ in range(SIZE))


def test_a_process_that_is_stopped_while_it_has_the_table_does_not_stop_others(tmp_path: Path) -> None:
    # Given a run that holds one, and a process that has locked the table and sleeps
    code = (
        "import sys, time; from pathlib import Path; from pydag_gcp.pool_memory import PoolFile;"
        "file = PoolFile(Path(sys.argv[1])); print(file.lock(1), flush=True); time.sleep(60)"
    )
    with joined(tmp_path) as (share, rung):
        assert share.take(1)
        share.rest()
        command = [sys.executable, "-c", code, str(tmp_path)]
        with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
            assert said(process) == "True"
            # When the run goes on
            for _ in range(10):
                share.give(1)
                assert share.take(1)
                share.rest()
            assert not share.take(1), "nobody knows whether more are free"
            # Then it asks again later, and gets what it wants once the other one is gone
            process.kill()
        take_all(share, rung)


def test_a_run_cannot_begin_beside_another_version_and_says_so(tmp_path: Path) -> None:
    # Given a process that uses a table that this version does not know
    code = (
        "import sys, time; from pathlib import Path; from pydag_gcp.pool_memory import PoolFile;"
        "file = PoolFile(Path(sys.argv[1])); file.memory[:8] = b'pydagP99'; file.live(0);"
        "print('begun', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        assert said(process) == "begun"
        before = file_in(tmp_path).read_bytes()
        # When a run of ours begins
        with joined(tmp_path) as (share, _):
            # Then it has processors of its own, and has not touched the other's
            (warning,) = share.warnings
            assert "the pool's table is that of another version of pydag-gcp, or damaged" in warning
            assert share.take(SIZE)
            assert file_in(tmp_path).read_bytes() == before
        process.kill()
    with joined(tmp_path) as (share, _):
        assert not share.warnings


def test_a_process_id_that_is_given_again_keeps_no_processors(tmp_path: Path) -> None:
    # Given what a dead process has left, whose id is now that of one that lives: ours
    with holder(tmp_path, "--hold") as process:
        assert said(process) == str(SIZE)
    with opened(tmp_path) as pool, pool.locked(1):
        (entry,) = pool.table.entries()
        assert entry.held == SIZE
        pool.table.words[64] = os.getpid()
        assert entry.pid == os.getpid()
    # When a run begins
    with joined(tmp_path) as (share, rung):
        take_all(share, rung)


def test_signs_of_life_end_with_the_process_and_not_with_its_children(tmp_path: Path) -> None:
    # Given a process that holds everything and has a child, which outlives it
    code = (
        "import os, sys, time; from pathlib import Path; from pydag_gcp import processors\n"
        "share = processors.join('a', run_id='r', size=3, granted=print, folder=Path(sys.argv[1]))\n"
        "assert share.take(3)\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        child = int(said(process))
        try:
            process.kill()
            process.wait()
            with joined(tmp_path) as (share, rung):
                take_all(share, rung)
        finally:
            os.kill(child, signal.SIGKILL)


def test_the_file_says_whether_a_process_lives(tmp_path: Path) -> None:
    with holder(tmp_path, "--hold") as process:
        assert said(process) == str(SIZE)
        file = PoolFile(tmp_path)
        assert (file.nobody(), file.lives(0), file.lives(1)) == (False, True, False)
        process.kill()
        process.wait()
        assert (file.nobody(), file.lives(0)) == (True, False)
        file.close()
