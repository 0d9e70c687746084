"""Which source files are the project's own, and which of them a module imports; nothing is executed to find out."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from pydag_gcp.canonical import Unhashable

#: Folders that installers fill.
_INSTALLED = frozenset(("dist-packages", "site-packages"))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the project.

    Attributes:
        path: Where it lies.
        package: The package that the dots of its relative imports begin at.
    """

    path: Path
    package: str = ""

    @property
    def root(self) -> Path:
        """The folder that its imports find their neighbours in."""
        return self.path.parents[len(self.package.split(".")) if self.package else 0]


@functools.cache
def is_of_project(file: str) -> bool:
    """Tell whether a source file is the project's: neither Python's own, nor installed, nor part of pydag-gcp."""
    path = Path(file)
    if file.startswith("<frozen ") or _INSTALLED & set(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _not_ours())


@functools.cache
def _not_ours() -> tuple[Path, ...]:
    here = Path(__file__).parent
    standard = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return tuple({*standard, *(path.resolve() for path in standard), here, (here / "operators").resolve()})


def files_of(value: type | types.ModuleType) -> list[SourceFile] | None:
    """The project's files that a module, with its submodules, or the module of a class was made of.

    Returns:
        None if it is none of the project's.

    Raises:
        Unhashable: Nobody knows what it was made of.
    """
    module = value if isinstance(value, types.ModuleType) else sys.modules.get(value.__module__)
    name = getattr(module, "__name__", None) or value.__module__
    file, package = getattr(module, "__file__", None) or _origin(value), getattr(module, "__package__", None) or ""
    if name.partition(".")[0] in sys.stdlib_module_names or (file and not is_of_project(str(file))):
        return None
    folders = sorted(map(str, getattr(module, "__path__", ())))
    if module is not value or not folders:
        if not file:
            raise Unhashable(f"{value.__name__} comes from no file")
        return [SourceFile(Path(file), package)]
    inside = [file for folder in folders for file in _inside(Path(folder), name)]
    return sorted(inside, key=lambda file: str(file.path)) or None


def _inside(folder: Path, package: str) -> Iterator[SourceFile]:
    """The project's files of a package and of the packages in it."""
    for path in folder.rglob("*.py"):
        if is_of_project(str(path)):
            yield SourceFile(path, ".".join([package, *path.parent.relative_to(folder).parts]))


@functools.lru_cache(maxsize=1024)
def _read(file: SourceFile, _stamp: tuple[int, int]) -> tuple[str, tuple[SourceFile, ...]]:
    content = file.path.read_bytes()
    return hashlib.sha256(content).hexdigest(), tuple(_imports_of(file, content))


def _origin(value: object) -> str | None:
    """The file of a class whose module is loaded no more, as its methods know it."""
    methods = [part for part in getattr(value, "__dict__", {}).values() if isinstance(part, types.FunctionType)]
    return next((part.__globals__.get("__file__") for part in methods if part.__module__ == value.__module__), None)


def look_at(file: SourceFile) -> tuple[str, tuple[SourceFile, ...]]:
    """The hash of a source file, and the files of the project that it imports.

    Raises:
        Unhashable: It cannot be read.
    """
    try:
        found = file.path.stat()
        return _read(file, (found.st_mtime_ns, found.st_size))
    except OSError as error:
        raise Unhashable(f"{file.path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError):
        raise Unhashable(f"{file.path} is no Python source") from None


def imported(by: SourceFile, name: str, members: Sequence[str] = (), *, level: int = 0) -> Iterator[SourceFile]:
    """Find the project's files that an import statement runs.

    Args:
        by: The file that it stands in.
        name: The module's name as it is written.
        members: What is taken from it; some of these may be modules.
        level: The number of leading dots.
    """
    if level:
        package = by.package.split(".")
        base = package[: len(package) - level + 1]
        name = ".".join([*base, name] if name else base)
    if not all(parts := name.split(".")):
        return
    search: Sequence[str] | None = [*sys.path, str(by.root)]
    for depth in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:depth]), search)
        if spec is None:
            return
        yield from _project_file(spec)
        search = spec.submodule_search_locations
        if search is None:
            return
    for member in members:
        spec = _spec(f"{name}.{member}", search)
        if spec is not None:
            yield from _project_file(spec)


def _imports_of(file: SourceFile, source: bytes) -> Iterator[SourceFile]:
    """Find what a source file imports, at its top or inside its functions."""
    if file.path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from imported(file, alias.name)
        elif isinstance(node, ast.ImportFrom):
            members = [alias.name for alias in node.names]
            yield from imported(file, node.module or "", members, level=node.level)


def _spec(name: str, search: Sequence[str] | None) -> ModuleSpec | None:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__spec__", None) is not None:
        return loaded.__spec__
    try:
        return PathFinder.find_spec(name, None if search is None else list(search))
    except (ImportError, ValueError):
        return None


def _project_file(spec: ModuleSpec) -> Iterator[SourceFile]:
    if spec.origin is not None and spec.has_location and is_of_project(spec.origin):
        yield SourceFile(Path(spec.origin), spec.parent or "")
