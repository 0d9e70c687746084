"""Pipelines from files: a ``.py`` file that constructs one DAG."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, PydagError, did_you_mean, place

#: Where pipelines are found by the id of their DAG.
FOLDER = "pipelines"


def find(name_or_path: str) -> Path:
    """Find a pipeline: a path, or the name of a file under ``pipelines/`` without its ending.

    Raises:
        DefinitionError: There is none.
    """
    path = Path(name_or_path)
    if path.suffix == ".py" or "/" in name_or_path or path.exists():
        if not path.exists():
            near = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
            raise DefinitionError("no such file", where=name_or_path, hint=did_you_mean(path.name, near))
        return path
    named = Path(FOLDER) / f"{name_or_path}.py"
    if named.is_file():
        return named
    known = [other.stem for other in Path(FOLDER).glob("*.py")]
    hint = did_you_mean(name_or_path, known) or "give a path such as pipelines/daily.py"
    raise DefinitionError(f"no pipeline {name_or_path!r} in {FOLDER}/", hint=hint)


def load(path: Path) -> DAG:
    """Run a pipeline file and return the DAG that it defines.

    Raises:
        DefinitionError: The file is missing, no Python, fails, or does not define exactly one DAG.
    """
    if path.suffix != ".py":
        raise DefinitionError(f"is no pipeline: cannot load {path.suffix or 'a file without ending'}", where=str(path),
                              hint="write a .py file that defines a DAG")  # fmt: skip
    module = _execute(path)
    dags = {id(value): value for value in vars(module).values() if isinstance(value, DAG)}
    if not dags:
        raise DefinitionError("defines no DAG", where=str(path), hint="write `with DAG(...) as dag:` at its top level")
    if len(dags) > 1:
        names = ", ".join(repr(dag.dag_id) for dag in dags.values())
        raise DefinitionError(f"defines {len(dags)} DAGs: {names}", where=str(path), hint="one file, one DAG")
    dag = next(iter(dags.values()))
    dag.check()
    return dag


def _execute(path: Path) -> ModuleType:
    try:
        source = path.read_bytes()
        code = compile(source, str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except SyntaxError as error:
        where = place(file=path, line=error.lineno)
        raise DefinitionError(f"{type(error).__name__}: {error.msg}", where=where) from None
    except ValueError as error:  # null bytes, or an encoding that is none
        raise DefinitionError(f"is no Python source: {error}", where=str(path)) from None
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as `python FILE` does, so that a pipeline may import its neighbours
    try:
        exec(code, module.__dict__)  # noqa: S102 - the user's own file, which the user asked to run
    except PydagError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failure(path, error) from error
    finally:
        sys.path.remove(folder)
    return module


def _failure(path: Path, error: BaseException) -> DefinitionError:
    """Say where in the pipeline file an exception came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SystemExit):
        what, hint = "exits while it is loaded", 'put dag.cli() below `if __name__ == "__main__":`'
    else:
        what, hint = f"{type(error).__name__}: {error}".splitlines()[0], None
    return DefinitionError(what, where=place(file=path, line=lines[-1] if lines else None), hint=hint)
