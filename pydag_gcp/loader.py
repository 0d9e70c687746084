"""Pipelines from files: a ``.py`` file that constructs one DAG."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, PydagError, did_you_mean, place

#: Where pipelines are found by the id of their DAG.
FOLDER = "pipelines"

_PREFIX = "pydag_pipeline_"


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
    module = ModuleType(_module_name(path))
    module.__file__ = str(path.resolve())
    # Dataclasses and pydantic look annotations up in the module of that name, also long after it was executed.
    sys.modules[module.__name__] = module
    _enter(path.resolve().parent)
    try:
        exec(code, module.__dict__)  # noqa: S102 - the user's own file, which the user asked to run
    except BaseException as error:
        del sys.modules[module.__name__]
        if isinstance(error, (PydagError, KeyboardInterrupt)):
            raise
        raise _failure(path, error) from error
    return module


def _module_name(path: Path) -> str:
    """A name that no importable module has, and no pipeline of another folder."""
    base = name = _PREFIX + re.sub(r"\W", "_", path.stem)
    number = 1
    while name in sys.modules and sys.modules[name].__file__ != str(path.resolve()):
        number += 1
        name = f"{base}_{number}"
    return name


#: Folders of pipelines that were put on ``sys.path`` here, and the modules there were before.
_entered: dict[str, frozenset[str]] = {}


def _enter(folder: Path) -> None:
    """Put a pipeline's folder on ``sys.path``, as ``python FILE`` does, so that it and its tasks import its neighbours.

    The folders of pipelines loaded before leave, and so do the modules that came from them: another pipeline's
    neighbour of the same name is another module.
    """
    for other in [entered for entered in _entered if entered != str(folder)]:
        new = {name.partition(".")[0] for name in sys.modules} - _entered.pop(other)
        neighbours = {name for name in new if _lies_in(name, other)}
        for name in [name for name in sys.modules if name.partition(".")[0] in neighbours]:
            del sys.modules[name]
        if other in sys.path:
            sys.path.remove(other)
    if str(folder) not in sys.path:
        _entered[str(folder)] = frozenset(sys.modules)
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _lies_in(name: str, folder: str) -> bool:
    """Whether a module or package of this name was found directly in a folder: a virtual environment in it is not."""
    module = sys.modules.get(name)
    if name.startswith(_PREFIX):  # a pipeline itself stays: its name is its own
        return False
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place and str(Path(place).parent) == folder for place in places)


def _failure(path: Path, error: BaseException) -> DefinitionError:
    """Say where in the pipeline file an exception came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SystemExit):
        what, hint = "exits while it is loaded", 'put dag.cli() below `if __name__ == "__main__":`'
    else:
        what, hint = f"{type(error).__name__}: {error}".splitlines()[0], None
    return DefinitionError(what, where=place(file=path, line=lines[-1] if lines else None), hint=hint)
