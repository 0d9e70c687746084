"""Fixtures and processes that every test may use."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import AnyStr

import pytest

from pydag_gcp import redaction, settings
from pydag_gcp.errors import LocalCloudError
from pydag_gcp.gcp import Clients
from pydag_gcp.local.dataproc import java
from pydag_gcp.operator import Context
from tests.contexts import first_try
from tests.servers import postgresql_server, postgresql_url, redis_server, redis_url  # noqa: F401 - fixtures

_OURS = ("PYDAG_", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS", "MAKE", "MFLAGS")


@pytest.fixture(scope="session", autouse=True)
def _own_processors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests that run at the same time, here or in another checkout, do not share a pool of processors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Spark's Java compiles without optimizing: a third of what these short jobs would cost goes into that."""
    home = tmp_path_factory.mktemp("java")
    try:
        found = java.find(os.environ).executable
    except LocalCloudError:
        yield
        return
    (home / "bin").mkdir()
    command = home / "bin" / "java"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(found))} -XX:TieredStopAtLevel=1 "$@"\n')
    command.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(home))
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the developer has set must not reach a test."""
    for name in list(os.environ):
        if (name.startswith(_OURS) and name != "PYDAG_TEST_PROJECT") or name.endswith("_EMULATOR_HOST"):
            monkeypatch.delenv(name)
    # The folder of the pipeline that was loaded last stays on it for the tasks; the next test must not find it there.
    monkeypatch.setattr(sys, "path", list(sys.path))
    # Bytecode is told from its source by the second and the length: a test that edits a module is quicker than that.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # A secret that one test reveals is masked in this process for good: the next one may need just that word.
    monkeypatch.setattr(redaction, "_revealed", redaction._Revealed())


@contextmanager
def reaped(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """A process that a test which fails does not wait for, nor leave behind for others to warn of."""
    with process:  # waits for its end, and closes its pipes
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is the working directory."""
    (tmp_path / "pydag.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that accepts connections and never answers, given as every service of the local target."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port = server.getsockname()[1]
        for name in ("BIGQUERY", "STORAGE", "DATAPROC"):
            monkeypatch.setenv(f"{name}_EMULATOR_HOST", f"127.0.0.1:{port}")
        yield port


@pytest.fixture
def ctx(project: Path) -> Context:
    """The context of a task's first try, on the local target, which nobody has spoken to."""
    return first_try(project, Clients(settings.load(project, environ={}).target(environ={})))
