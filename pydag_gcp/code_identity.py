"""What a Python function does, as far as its project's code decides it: so that a change of it is seen.

The function's bytecode, constants, defaults and closure count, and so does what it refers to by a global name or an
import: other functions of the project in the same way, values by what they hold, modules and classes of the project
with all of their source file. What is installed counts by its name. What cannot be followed is refused.
"""

from __future__ import annotations

import builtins
import dis
import functools
import logging
import types
import typing
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from pydag_gcp.canonical import Canonical, Json, Unhashable, digest
from pydag_gcp.project_code import SourceFile, files_of, imported, is_of_project, look_at

#: With these a function reaches what nobody can see in it: built in, and members of modules.
_HIDES: Final = frozenset(("__import__", "compile", "eval", "exec", "globals"))
_HIDING_MEMBERS: Final = frozenset(("__globals__", "import_module", "run_module", "run_path"))

#: Globals that say where a module lies, not what it does.
_ABOUT_THE_MODULE: Final = frozenset(
    ("__builtins__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__")
)


@dataclass(frozen=True, kw_only=True)
class CodeIdentity:
    """What a function does.

    Attributes:
        parts: ``code pipelines/daily.py:load``, ``value pipelines/daily.py:LIMIT``, ``argument day`` -> what it is.
        names: Every name of an attribute or global in its code, and in that of the functions it refers to.
    """

    parts: Mapping[str, Json]
    names: frozenset[str]


def identify(function: Callable[..., Any], arguments: Mapping[str, Any], *, folder: Path) -> CodeIdentity:
    """Find out what a function and its arguments are.

    Args:
        function: A plain function.
        arguments: What it is called with, by name.
        folder: The project's: files in it are named from there.

    Raises:
        Unhashable: A part cannot be told from another, or cannot be seen; names it.
    """
    reach = _Reach(folder)
    given = {f"argument {name}": reach.form(value, f"argument {name!r}") for name, value in arguments.items()}
    first = reach.refer(function)
    return CodeIdentity(parts={**reach.followed(), **given, "function": first}, names=frozenset(reach.names))


class _Reach:
    """What a function refers to, directly or not: each function, value and file once, under its own name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._canonical = Canonical(self._other, ordered=True)
        self._labels: dict[int, str] = {}
        self._taken: dict[str, int] = {}
        self._waiting: deque[tuple[str, types.FunctionType]] = deque()
        self._kept: list[Any] = []  # an id is an object's own only while that lives
        self._files: dict[SourceFile, str] = {}
        self.names: set[str] = set()
        self._parts: dict[str, Json] = {}

    def form(self, value: Any, what: str) -> Json:
        """Write a value, and follow what it refers to."""
        try:
            return self._canonical.form(value)
        except Unhashable as error:
            raise Unhashable(f"{what}: {error}") from None

    def followed(self) -> dict[str, Json]:
        """Follow all references to their ends."""
        while self._waiting:
            label, function = self._waiting.popleft()
            self._parts[f"code {label}"] = self._function(label, function)
        return self._parts

    def refer(self, function: Any) -> Json:
        """Refer to a function by its name, and look at it later."""
        own = is_of_project(function.__code__.co_filename)
        if not own and "<locals>" not in function.__code__.co_qualname:
            return ["installed", function.__module__, function.__qualname__]
        if id(function) not in self._labels:
            if self._canonical.in_a_set and "<" in function.__qualname__:
                raise Unhashable(f"a set of functions such as {function.__qualname__}() has no order")
            place = _shown(function.__code__.co_filename, self._folder) if own else function.__code__.co_name
            label = self._free(f"{place}:{function.__qualname__}")
            self._labels[id(function)] = label
            self._kept.append(function)
            self._waiting.append((label, function))
        return ["code", self._labels[id(function)]]

    def _free(self, label: str) -> str:
        self._taken[label] = number = self._taken.get(label, 0) + 1
        return label if number == 1 else f"{label}#{number}"

    def _function(self, label: str, function: types.FunctionType) -> Json:
        """Write a function; of one that is installed, such as what a decorator makes, only what it was given."""
        where = f"{function.__qualname__}()"
        attributes = {name: value for name, value in vars(function).items() if not name.startswith("__")}
        given = {"default": function.__defaults__, "keyword default": function.__kwdefaults__, "attribute": attributes}
        closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        parts = [
            *(self.form(value, f"a {what} of {where}") for what, value in given.items()),
            [[name, self._cell(cell, f"{name!r} in {where}")] for name, cell in closure],
        ]
        if not is_of_project(function.__code__.co_filename):
            return [*parts, function.__code__.co_qualname]
        look = _look_at(function.__code__)
        self._check(look, function)
        if look.imports:
            package = function.__globals__.get("__package__") or ""
            here = SourceFile(Path(function.__code__.co_filename).resolve(), package)
            for level, name, members in look.imports:
                for file in imported(here, name, members, level=level):
                    self._refer_to_file(file)
        return [*parts, look.digest, [[name, self._global(name, function, label)] for name in sorted(look.globals)]]

    def _check(self, look: _Look, function: types.FunctionType) -> None:
        self.names |= look.names
        hidden = {name for name in look.globals & _HIDES if name not in function.__globals__}
        for name in sorted(hidden | (look.names & _HIDING_MEMBERS)):
            raise Unhashable(f"{function.__qualname__}() uses {name}, so what it does cannot be seen")

    def _cell(self, cell: types.CellType, what: str) -> Json:
        try:
            value = cell.cell_contents
        except ValueError:
            return "not yet set"
        return self.form(value, what)

    def _global(self, name: str, function: types.FunctionType, label: str) -> Json:
        if name in _ABOUT_THE_MODULE:
            return "module"
        if name not in function.__globals__:
            return "built in" if hasattr(builtins, name) else "missing"
        form = self.form(function.__globals__[name], f"global {name!r} of {function.__qualname__}()")
        if isinstance(form, list) and form[0] in ("code", "installed"):
            return form
        part = f"value {label.partition(':')[0]}:{name}"
        if self._parts.setdefault(part, form) != form:  # two modules whose files have one name
            return form
        return ["value", part]

    def _other(self, value: Any) -> Json:
        if isinstance(value, types.FunctionType):
            return self.refer(value)
        if isinstance(value, (type, types.ModuleType)):
            return self._class_or_module(value)
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            bound = None if owner is None or isinstance(owner, types.ModuleType) else self._canonical.form(owner)
            return ["installed", value.__module__, value.__qualname__, bound]
        if isinstance(value, types.MethodType):
            return ["method", *map(self._canonical.form, (value.__func__, value.__self__))]
        if isinstance(value, _WRAPPERS) or type(value).__module__ == "pydag_gcp.function":  # functools.cache, @task
            return ["wrapped", self._canonical.form(value.__wrapped__)]
        if isinstance(value, logging.Logger):  # its name may be that of the module, which depends on who loads it
            return ["installed", "logging", "Logger"]
        if typing.get_origin(value) is not None or type(value).__module__ == "typing":
            return ["type", repr(value), *map(self._canonical.form, typing.get_args(value))]
        return self._object(value)

    def _class_or_module(self, value: type | types.ModuleType) -> Json:
        name = value.__qualname__ if isinstance(value, type) else value.__name__
        files = files_of(value)
        if files is None:
            return ["installed", getattr(value, "__module__", ""), name]
        if "<locals>" in name:
            raise Unhashable(f"class {name} is made inside a function")
        return ["code", [self._refer_to_file(file) for file in files], name if isinstance(value, type) else ""]

    def _refer_to_file(self, file: SourceFile) -> str:
        if file not in self._files:
            self._files[file] = part = self._free(_shown(str(file.path), self._folder))
            content, further = look_at(file)
            self._parts[f"code {part}"] = content
            for other in further:
                self._refer_to_file(other)
        return self._files[file]

    def _object(self, value: Any) -> Json:
        """Write any other object by its class and its fields, or what pickle would keep of it."""
        if isinstance(value, BaseModel):
            private = value.__pydantic_private__
            return ["model", *map(self._canonical.form, (type(value), private)), self._canonical.fields(value)]
        try:
            kept = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - a class's own code; that it cannot be kept is the answer
            kept = None
        if isinstance(kept, str):
            return ["object", self._canonical.form(type(value)), kept]
        if kept is None:
            raise Unhashable(f"a {type(value).__qualname__} cannot be told from another by its content")
        made, arguments, state, items, pairs = (*kept, *(None,) * 3)[:5]
        parts = (made, arguments, state, None if items is None else list(items), None if pairs is None else list(pairs))
        return ["object", *map(self._canonical.form, parts)]


@functools.lru_cache(maxsize=1024)  # for each run anew it would take longer than all else of a small function
def _shown(file: str, folder: Path) -> str:
    """How a file is named: from the folder of the project if it lies there."""
    path, folder = Path(file).resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


#: What functools.cache makes of a function.
_WRAPPERS: Final = (type(functools.cache(lambda: None)),)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a code object holds, nested ones included."""

    digest: str
    names: frozenset[str]
    globals: frozenset[str]
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


@functools.lru_cache(maxsize=4096)
def _look_at(code: types.CodeType) -> _Look:
    nested = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    below = [_look_at(const) for const in nested]
    own = frozenset(_loaded(code))
    return _Look(
        digest=digest(_code(code)),
        names=frozenset(code.co_names).union(*(look.names for look in below)),
        globals=own.union(*(look.globals for look in below)),
        imports=(*_imports(code), *(found for look in below for found in look.imports)),
    )


def _code(code: types.CodeType) -> Json:
    """Write a code object without the places of its lines."""
    constants = [_look_at(const).digest if isinstance(const, types.CodeType) else const for const in code.co_consts]
    return Canonical(ordered=True).form(
        [
            code.co_name,
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
            code.co_code,
            constants,
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            code.co_exceptiontable,
        ]
    )


def _loaded(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}:
            yield str(instruction.argval)


def _imports(code: types.CodeType) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """https://docs.python.org/3/library/dis.html#opcode-IMPORT_NAME: level and names stand right before it."""
    before: deque[Any] = deque(maxlen=2)
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, members = before
            yield int(level or 0), str(instruction.argval), tuple(members or ())
        if instruction.opname != "EXTENDED_ARG":
            before.append(instruction.argval)
