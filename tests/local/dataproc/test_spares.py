"""Warm Sparks that go from one cluster to the next."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local.dataproc.spares import Lent, Spares


@pytest.fixture
def spares(tmp_path: Path) -> Iterator[Spares]:
    with closing(Spares(tmp_path / "spares")) as spares:
        yield spares


def _lend(spares: Spares, folder: Path, **properties: str) -> Lent:
    return spares.lend(buckets=folder, temporary_bucket="t", environment={}, properties=properties)


def _pid(lent: Lent) -> int:
    assert lent._spark is not None
    assert lent._spark._jvm is not None
    return lent._spark._jvm._process.pid


def test_what_was_given_back_is_not_used_any_more(spares: Spares, tmp_path: Path) -> None:
    lent = _lend(spares, tmp_path)
    lent.close()
    with pytest.raises(LocalCloudError, match="closed"):
        lent.start()
    lent.close()  # again, which is nothing


@pytest.mark.spark
@pytest.mark.slow
def test_the_next_cluster_of_the_kind_takes_it_over_and_no_other(spares: Spares, tmp_path: Path) -> None:
    # Given the Spark of a cluster that is deleted
    first = _lend(spares, tmp_path, word="a")
    first.start()
    pid = _pid(first)
    first.remove()
    # Then a cluster of the same kind has it, and one of another kind has not
    other = _lend(spares, tmp_path, word="b")
    assert other._spark is not None
    assert other._spark._jvm is None
    second = _lend(spares, tmp_path, word="a")
    second.start()
    assert _pid(second) == pid
    # But nobody gets one that died meanwhile
    os.kill(pid, signal.SIGKILL)
    assert second._spark is not None
    assert second._spark._jvm is not None
    second._spark._jvm._process.wait()
    second.close()
    third = _lend(spares, tmp_path, word="a")
    assert third._spark is not None
    assert third._spark._jvm is None
