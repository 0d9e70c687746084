"""Pipelines in Python: the one form whose file is executed, which is what its author wants."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from pydag_gcp import source_file
from pydag_gcp.dag import DAG, loading
from pydag_gcp.errors import DefinitionError, PydagError, did_you_mean, place
from pydag_gcp.excerpt import excerpt
from pydag_gcp.model import complaint, dotted
from pydag_gcp.source import line_in

_PREFIX = "pydag_pipeline_"


def load(path: Path) -> DAG:
    """Run a pipeline file and return the DAG that it defines.

    Raises:
        DefinitionError: The file cannot be read, is no Python, fails, or does not define exactly one DAG.
    """
    module = _execute(path)
    dags = {id(value): value for value in vars(module).values() if isinstance(value, DAG)}
    if not dags:
        raise DefinitionError("defines no DAG", where=str(path), hint="write `with DAG(...) as dag:` at its top level")
    if len(dags) > 1:
        names = ", ".join(repr(dag.dag_id) for dag in dags.values())
        raise DefinitionError(f"defines {len(dags)} DAGs: {names}", where=str(path), hint="one file, one DAG")
    return next(iter(dags.values()))


def _execute(path: Path) -> ModuleType:
    source = source_file.read(path)
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = place(file=path, line=error.lineno)
        shown = _underlined(error)
        raise DefinitionError(f"{type(error).__name__}: {error.msg}", where=where, excerpt=shown) from None
    except ValueError as error:  # null bytes, or an encoding that is none
        raise DefinitionError(f"is no Python source: {error}", where=str(path)) from None
    except (RecursionError, MemoryError):  # how the compiler says that its stack is too small
        raise DefinitionError("is nested too deeply for Python", where=str(path)) from None
    module = ModuleType(_module_name(path))
    module.__file__ = str(path.resolve())
    # Dataclasses and pydantic look annotations up in the module of that name, also long after it was executed.
    sys.modules[module.__name__] = module
    _enter(path.resolve().parent)
    token = loading.set(True)
    try:
        exec(code, module.__dict__)  # noqa: S102 - the user's own file, which the user asked to run
    except BaseException as error:
        del sys.modules[module.__name__]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failure(path, error) from error
    finally:
        loading.reset(token)
    return module


def _underlined(error: SyntaxError) -> str | None:
    if not error.text or not error.text.strip() or not error.offset:
        return None
    one_line = error.end_offset is not None and error.end_lineno == error.lineno
    length = (error.end_offset or 0) - error.offset if one_line else 1
    return excerpt(error.text.rstrip("\n"), error.offset, length)


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


def _failure(path: Path, error: BaseException) -> PydagError:
    """Say where in the pipeline file an exception came from."""
    where = place(file=path, line=line_in(str(path), error))
    if isinstance(error, PydagError):
        error.where = error.where or where
        return error
    if isinstance(error, SystemExit):
        hint = 'put dag.cli() below `if __name__ == "__main__":`'
        return DefinitionError("exits while it is loaded", where=where, hint=hint)
    brief = _brief(error)
    return DefinitionError(brief, where=where, hint=_meant(brief))


def _brief(error: BaseException) -> str:
    """What an exception says, in one line; of a SyntaxError in another file, also where."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    if isinstance(error, ValidationError):
        bare = complaint(error, given={}, known={})
        return f"{error.title}: field {dotted(bare.loc)!r}: {bare.what}"
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return said[0] if said else type(error).__name__


def _meant(brief: str) -> str | None:
    """The name of ours that was meant, where Python's message does not say it itself."""
    if "Did you mean" in brief:
        return None
    if name := re.search(r"^ImportError: cannot import name '(\w+)' from '(pydag_gcp[.\w]*)'", brief):
        return did_you_mean(name[1], getattr(sys.modules.get(name[2]), "__all__", ()))
    if name := re.search(r"^TypeError: DAG\.__init__\(\) got an unexpected keyword argument '(\w+)'", brief):
        return did_you_mean(name[1], inspect.signature(DAG).parameters)
    return None
