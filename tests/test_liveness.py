"""Whether a process that was seen in the past is still there."""

from __future__ import annotations

import os
import subprocess

from pydag_gcp import liveness
from pydag_gcp.liveness import gone, mark
from tests.conftest import reaped


def test_a_process_that_is_there_is_not_gone() -> None:
    assert mark() == mark() is not None
    assert not gone(os.getpid(), mark())


def test_a_process_is_gone_once_it_has_ended() -> None:
    with reaped(subprocess.Popen(["sleep", "60"])) as process:
        theirs = f"{liveness._machine()} {liveness._fields(process.pid)[19]}"
        assert not gone(process.pid, theirs)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert gone(process.pid, theirs)  # though nobody has asked for its exit status
        process.wait()
        assert gone(process.pid, theirs)


def test_a_process_with_an_id_that_was_given_again_is_another_one() -> None:
    assert gone(os.getpid(), f"{liveness._machine()} 1")


def test_nobody_can_know_of_another_machine() -> None:
    no_such_process = 2**22 + 1
    assert not gone(no_such_process, "another-boot 4026531836 1")
    assert not gone(no_such_process, None)
    assert not gone(no_such_process, "")
