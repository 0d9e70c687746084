"""A YAML or JSON file: plain values, and where each of them was written.

Nothing of a document is executed, however it is made: tags are refused, names are unique, and size, depth and aliases
are limited. :mod:`.yaml_nodes` and :mod:`.json_nodes` read the two forms, to the same :mod:`.nodes`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydag_gcp import source_file
from pydag_gcp.errors import DefinitionError, place
from pydag_gcp.excerpt import excerpt
from pydag_gcp.nodes import Malformed, Node, Span

#: Endings of YAML files.
YAML = frozenset({".yaml", ".yml"})

_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a file says, and where."""

    file: Path
    lines: Sequence[str]
    root: Node

    @cached_property
    def value(self) -> Any:
        """Everything as scalars, lists and dicts."""
        return self.root.plain()

    def place(self, keys: Sequence[str | int], *, of_key: bool = False) -> Span:
        """Find where a value was written.

        Args:
            keys: The way to it from the top: names and positions. Steps that lead nowhere are left out, as pydantic
                puts the names of union members among them.
            of_key: Find the name of the last step instead of its value.
        """
        node, name = self.root, None
        for key in keys:
            if isinstance(node.value, dict) and str(key) in node.value:
                name, node = node.keys[str(key)], node.value[str(key)]
            elif isinstance(node.value, tuple) and isinstance(key, int) and 0 <= key < len(node.value):
                name, node = None, node.value[key]
        return name if of_key and name is not None else node.span

    def error(
        self,
        what: str,
        keys: Sequence[str | int] = (),
        *,
        hint: str | None = None,
        task: str | None = None,
        field: str | None = None,
        of_key: bool = False,
    ) -> DefinitionError:
        """Make an error that names file, line and column of a value and shows it underlined; see :meth:`place`."""
        span = self.place(keys, of_key=of_key)
        return _error(self.file, self.lines, span, what, hint=hint, task=task, field=field)


def read(path: Path) -> Document:
    """Read a YAML file, or a JSON file if its name does not end in .yaml or .yml.

    Raises:
        DefinitionError: It cannot be read, is too large, no text, malformed, or gives a name twice.
    """
    text = _text(path)
    as_yaml = path.suffix in YAML
    if as_yaml:
        from pydag_gcp.yaml_nodes import LINE_END, compose

        lines = LINE_END.split(text)
    else:
        from pydag_gcp.json_nodes import compose

        lines = text.split("\n")
    try:
        return Document(file=path, lines=lines, root=compose(text))
    except Malformed as error:
        raise _error(path, lines, error.span, error.what, hint=error.hint) from None


def _text(path: Path) -> str:
    content = source_file.read(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"is no UTF-8 text (byte {error.start})", where=str(path), hint=_SAVE) from None
    found = _CONTROL.search(text)
    if found is not None:
        where = place(file=path, line=text.count("\n", 0, found.start()) + 1)
        raise DefinitionError(f"is no text: it holds the character {found[0]!r}", where=where, hint=_SAVE)
    return text


_SAVE = "save it as UTF-8"


def _error(
    file: Path,
    lines: Sequence[str],
    span: Span,
    what: str,
    *,
    hint: str | None = None,
    task: str | None = None,
    field: str | None = None,
) -> DefinitionError:
    where = place(file=file, line=span.line, column=span.column, task=task, field=field)
    line = lines[span.line - 1] if span.line <= len(lines) else ""
    shown = excerpt(line, span.column, span.length) if line.strip() else None
    return DefinitionError(what, where=where, hint=hint, excerpt=shown)
