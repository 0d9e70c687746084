"""Pipelines from files: Python, YAML, JSON and the JSON of the 2022 pyDag."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, did_you_mean

#: Where pipelines are found by the name of their file or the id of their DAG.
FOLDER = "pipelines"

#: How the names of files end that may be pipelines.
ENDINGS = (".py", ".yaml", ".yml", ".json")


def find(name_or_path: str) -> Path:
    """Find a pipeline. The same one in Python and as a document is the one in Python.

    Args:
        name_or_path: A path; or the name of a file under ``pipelines/`` without its ending; or the id of a DAG there.

    Raises:
        DefinitionError: There is none, or several go by that name.
    """
    path = Path(name_or_path)
    if path.suffix in ENDINGS or "/" in name_or_path or _exists(path):
        if not _exists(path):
            near = [other.name for other in _pipelines(path.parent)]
            raise DefinitionError("no such file", where=name_or_path, hint=did_you_mean(path.name, near))
        return path
    there = list(_pipelines(Path(FOLDER)))
    found = [other for other in there if other.stem == name_or_path] or [
        other for other in there if name_or_path in _dag_ids(other)
    ]
    found = [other for other in found if other.suffix == ".py"] or found
    if len(found) > 1:
        paths = " and ".join(map(str, found))
        raise DefinitionError(f"{name_or_path!r} may be {paths}", hint="give the path of the one you mean")
    if not found:
        hint = did_you_mean(name_or_path, {other.stem for other in there}) or "give a path such as pipelines/daily.py"
        raise DefinitionError(f"no pipeline {name_or_path!r} in {FOLDER}/", hint=hint)
    return found[0]


def load(path: Path) -> DAG:
    """Return the DAG that a file defines; only a ``.py`` file is executed.

    Raises:
        DefinitionError: The file cannot be read, or what it defines is wrong; names the place.
    """
    if path.suffix == ".py":
        from pydag_gcp import python_file

        dag = python_file.load(path)
    elif path.suffix in ENDINGS:
        dag = _from_document(path)
    elif path.is_dir():
        raise DefinitionError("is no file", where=str(path), hint="name a pipeline inside this folder")
    else:
        raise DefinitionError(
            f"is no pipeline: cannot load {path.suffix or 'a file without ending'}",
            where=str(path),
            hint="write a .py, .yaml or .json file that defines a DAG",
        )
    dag.check()
    return dag


def _from_document(path: Path) -> DAG:
    from pydag_gcp import definition, document
    from pydag_gcp.pydag2022 import definition as pydag2022

    found = document.read(path)
    if path.suffix == ".json" and pydag2022.is_2022(found.value):
        return pydag2022.load(found)
    return definition.define(found)


def _exists(path: Path) -> bool:
    """Whether something is there, if only a link that leads in circles."""
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _pipelines(folder: Path) -> Iterator[Path]:
    """The files of a folder that may be pipelines."""
    if _exists(folder) and folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)


def _dag_ids(path: Path) -> frozenset[str]:
    """The ids of the DAGs in a file, as far as they can be seen without executing it."""
    from pydag_gcp import document, source_file

    try:
        if path.suffix != ".py":
            return frozenset(_named(document.read(path).value))
        tree = ast.parse(source_file.read(path))
    except (DefinitionError, SyntaxError, ValueError, RecursionError, MemoryError):  # it is told when it is loaded
        return frozenset()
    return frozenset(_constructed(tree))


def _named(given: object) -> Iterator[str]:
    name = given.get("dag") if isinstance(given, dict) else None
    name = name.get("dag_id") if isinstance(name, dict) else name
    if isinstance(name, str):
        yield name


def _constructed(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="DAG") | ast.Attribute(attr="DAG"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield name
