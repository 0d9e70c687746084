"""The folder in which a user's processes meet: the user's alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pydag_gcp import runtime_folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of a user that has no other."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    return tmp_path


def test_it_is_the_runtime_folder_of_the_user(tmp_path: Path) -> None:
    folder = runtime_folder.find({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert folder == tmp_path / "pydag-gcp"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert runtime_folder.find({"XDG_RUNTIME_DIR": str(tmp_path)}) == folder


@pytest.mark.parametrize("given", ["", "relative", "/nowhere/at/all"])
def test_without_one_it_lies_among_temporary_files(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    with pytest.raises(PermissionError, match=f"{temporary}/pydag-gcp-54321 belongs to another user"):
        runtime_folder.find({"XDG_RUNTIME_DIR": given})  # made by us, who are not the user


def test_a_runtime_folder_of_another_user_is_not_used(temporary: Path) -> None:
    (temporary / "of-root").mkdir()
    with pytest.raises(PermissionError, match="pydag-gcp-54321 belongs"):
        runtime_folder.find({"XDG_RUNTIME_DIR": str(temporary / "of-root")})


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pydag-gcp").mkdir()
    (tmp_path / "pydag-gcp").chmod(0o777)
    with pytest.raises(PermissionError, match="can be written by others; chmod 700 it"):
        runtime_folder.find({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_link_that_somebody_has_laid_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pydag-gcp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        runtime_folder.find({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pydag-gcp").touch()
    with pytest.raises(NotADirectoryError, match="pydag-gcp is not a folder; remove it"):
        runtime_folder.find({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_where_nothing_can_be_made_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setattr(runtime_folder, "_ours", lambda _: False)
    with pytest.raises(FileNotFoundError):
        runtime_folder.find({})
