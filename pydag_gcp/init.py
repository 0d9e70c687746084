"""``pydag init``: a small project that works, to begin with and to change."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from pydag_gcp.errors import SettingsError

#: What the template calls its pipeline, in names of files and in their text.
_PLACEHOLDER = "my_pipeline"

#: Files whose name would mean something to tools where the template lies.
_RENAMED = {"gitignore": ".gitignore"}

_LONGEST_ID = 100


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project that was made.

    Attributes:
        folder: Where it lies.
        dag_id: The id of its one DAG, which its file under ``pipelines/`` is named after.
    """

    folder: Path
    dag_id: str


def create(folder: Path) -> Project:
    """Write a project of one pipeline, with SQL, data, a test and a Makefile.

    Args:
        folder: Made if it is missing; must be empty.

    Raises:
        SettingsError: It is not empty, is a file, or cannot be written.
    """
    dag_id = dag_id_of(folder.resolve().name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SettingsError("is not empty", where=str(folder), hint="name a new folder")
        for name, text in _files(resources.files("pydag_gcp") / "template_project", PurePosixPath()):
            _write(folder / str(name).replace(_PLACEHOLDER, dag_id), text.replace(_PLACEHOLDER, dag_id))
        _write(folder / ".pydag" / "python.mk", f"PYTHON ?= {_for_make(sys.executable)}\n")
    except (FileExistsError, NotADirectoryError) as error:
        where = str(error.filename or folder)
        raise SettingsError("is there already, and no folder", where=where, hint="name a new folder") from error
    except OSError as error:
        raise SettingsError(f"cannot be written: {error.strerror}", where=str(error.filename or folder)) from error
    return Project(folder=folder, dag_id=dag_id)


def dag_id_of(name: str) -> str:
    """Make the id of a DAG from the name of a folder.

    The file of the pipeline will have that name, and its folder is on ``sys.path`` while it runs, so it may not be the
    name of a module that can be imported.
    """
    dag_id = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:_LONGEST_ID]
    if not dag_id or dag_id[0].isdigit():
        dag_id = f"pipeline_{dag_id}".rstrip("_")
    is_module = dag_id in sys.stdlib_module_names or importlib.util.find_spec(dag_id) is not None
    return f"{dag_id}_pipeline" if is_module else dag_id


def _files(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in folder.iterdir():
        name = below / _RENAMED.get(entry.name, entry.name)
        if entry.is_file():
            yield name, entry.read_text(encoding="utf-8")
        elif entry.name != "__pycache__":
            yield from _files(entry, name)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True, parents=True)
    with file.open("x", encoding="utf-8", newline="\n") as new:
        new.write(text)


def _for_make(path: str) -> str:
    """Write a path as make reads it in an assignment."""
    return path.replace("$", "$$").replace("#", "\\#")
