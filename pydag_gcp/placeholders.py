"""What a SQL template may say in Jinja: control flow and plain values, and nothing that would quote wrongly in silence.

A placeholder's text is decided here (:func:`written`); whether it may stand where it stands, in :mod:`.rendering`.
Imports jinja2, so it is itself imported only when there is SQL to render.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache, wraps
from types import GeneratorType
from typing import Any

from jinja2 import nodes
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext

from pydag_gcp.errors import DefinitionError, did_you_mean
from pydag_gcp.googlesql import identifier, literal, table_path
from pydag_gcp.jinja import EMIT, Missing, Prepared, Sandbox, TemplateFault
from pydag_gcp.resources import Table
from pydag_gcp.unresolved import Unresolved

_CONSTANT = "pydag_constant"

_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Name, nodes.Const,
    nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.CondExpr, nodes.Test, nodes.Filter,
)  # fmt: skip

#: Jinja's own filters that do not make text.
_FILTERS = frozenset(
    ("abs", "count", "d", "default", "first", "float", "int", "last", "length", "list", "max", "min", "round", "sort",
     "sum", "unique")
)  # fmt: skip
_OURS = frozenset(("csv", "ident", "raw"))
_LOOP = frozenset(("depth", "first", "index", "index0", "last", "length", "revindex", "revindex0"))
_DATE = frozenset(("day", "hour", "microsecond", "minute", "month", "second", "year"))
_TABLE = frozenset(("dataset", "name", "project"))

_INSTEAD = "compute the text in SQL from {{ name }} or @name, or in Python; filters: ident, raw, csv"
_IN_SQL = {
    "capitalize": "INITCAP", "format": "FORMAT", "lower": "LOWER", "replace": "REPLACE",
    "title": "INITCAP", "tojson": "TO_JSON_STRING", "trim": "TRIM", "truncate": "LEFT", "upper": "UPPER",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fragment:
    """SQL text that a placeholder stands for.

    Attributes:
        text: The text.
        is_raw: The author answers for it.
        is_name: It is made of identifiers, else of literals.
        tables: The tables it names.
    """

    text: str
    is_raw: bool = False
    is_name: bool = False
    tables: tuple[Table, ...] = ()


class Constant(str):
    """Text written in the template itself, so that nobody knows whether a literal or SQL was meant."""

    __slots__ = ()


def written(value: Any) -> Fragment:
    """Write a placeholder's value as SQL.

    Raises:
        DefinitionError: There is no one way to write it; without a place.
    """
    if isinstance(value, Fragment):
        return value
    if isinstance(value, Table):
        return Fragment(table_path(value), is_name=True, tables=(value,))
    if isinstance(value, Unresolved):
        return Fragment("NULL")
    if isinstance(value, GeneratorType):
        value = list(value)
    parts = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(part, Fragment) for part in parts):
        raise DefinitionError("raw, ident and csv stand alone", hint="filter the whole placeholder: {{ names | csv }}")
    if any(isinstance(part, Constant) for part in parts):
        raise _constant(value)
    return Fragment(literal(value))


def _constant(value: object) -> DefinitionError:
    text = str(value) if isinstance(value, str) else value
    return DefinitionError(
        f"the template's own text {text!r} would be quoted as a string",
        hint="write a string literal in the SQL itself, and SQL or a name with | raw or | ident",
    )


def _ident(value: Any) -> Fragment:
    if isinstance(value, Table):
        return written(value)
    if isinstance(value, (list, tuple)):
        raise DefinitionError("| ident takes one name", hint="a list of names is written with | csv")
    if isinstance(value, str) and "." in value:
        # BigQuery splits `a.b` where a table is expected, which makes it a table of another dataset.
        raise DefinitionError(f"{value!r} is more than one name", hint="pass a table as a Table, a path name by name")
    return Fragment(identifier(value), is_name=True)


def _csv(values: Any) -> Fragment:
    if isinstance(values, str) or not isinstance(values, (Sequence, GeneratorType)):
        raise DefinitionError(
            f"| csv takes a list of names, got {values!r}", hint="a single name is written with | ident"
        )
    parts = [_ident(value) for value in values]
    if not parts:
        raise DefinitionError("| csv got an empty list", hint="leave the whole clause out with {% if names %}")
    tables = tuple(table for part in parts for table in part.tables)
    return Fragment(", ".join(part.text for part in parts), is_name=True, tables=tables)


def _raw(value: Any) -> Fragment:
    if isinstance(value, Table):
        return Fragment(value.table, is_raw=True, tables=(value,))
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return Fragment(str(value), is_raw=True)
    raise DefinitionError(f"| raw takes text or a number, got {value!r}")


class SqlSandbox(Sandbox):
    """Jinja as far as SQL templates go."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        super().__init__()
        self.globals.clear()
        self.filters |= {"ident": _ident, "csv": _csv, "raw": _raw, _CONSTANT: Constant}
        known = {name: _of_known(function) for name, function in self.filters.items() if name != EMIT}
        self.filters |= known
        self.tests = {name: _of_known(function) for name, function in self.tests.items()}

    def review(self, tree: nodes.Template) -> None:
        """See :meth:`Sandbox.review`."""
        for node in tree.find_all(nodes.Node):
            _allowed(node)
        for output in tree.find_all(nodes.Output):
            for constant in _constants(output.nodes):
                fault = _constant(constant.value)
                raise TemplateFault(fault.what, hint=fault.hint, line=constant.lineno)
        for node in tree.find_all((nodes.Assign, nodes.For)):
            if isinstance(node, nodes.Assign):
                node.node = _marked(node.node)
            elif isinstance(node, nodes.For):
                node.iter = _marked(node.iter)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Allow attributes of loops, dates and tables; ``x.y`` of a mapping is its item."""
        if isinstance(obj, Mapping):
            return self.getitem(obj, attribute)
        for kind, known in ((LoopContext, _LOOP), ((date, time), _DATE), (Table, _TABLE)):
            if isinstance(obj, kind) and attribute in known:
                return getattr(obj, attribute)
        if isinstance(obj, Missing):
            return super().getattr(obj, attribute)  # raises
        raise TemplateFault(f"attribute {attribute!r} of a {type(obj).__name__} is not allowed", hint=_INSTEAD)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Allow items of mappings and sequences."""
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else Missing(obj=obj, name=argument)
        if isinstance(obj, (list, tuple, str)) and isinstance(argument, int):
            return obj[argument]
        raise TemplateFault(f"item {argument!r} of a {type(obj).__name__} is not allowed", hint=_INSTEAD)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Allow arithmetic on numbers and dates only."""
        if isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple)):
            raise TemplateFault(f"{operator!r} on text or lists is not allowed", hint=_INSTEAD)
        return super().call_binop(context, operator, left, right)


def _of_known(function: Any) -> Any:
    """Have a filter or a test refuse what is known only at run time."""

    @wraps(function)  # and with it Jinja's marks of what the function wants to be given
    def checked(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            if isinstance(argument, Unresolved):
                argument.refuse()
        return function(*args, **kwargs)

    return checked


def _allowed(node: nodes.Node) -> None:
    if isinstance(node, nodes.Filter) and node.name not in _FILTERS | _OURS:
        raise TemplateFault(
            f"filter {node.name!r} is not allowed in SQL", hint=_instead_of(node.name), line=node.lineno
        )
    if isinstance(node, nodes.Concat):
        raise TemplateFault("'~' is not allowed in SQL", hint=_INSTEAD, line=node.lineno)
    if isinstance(node, nodes.Call):
        raise TemplateFault("calls are not allowed in SQL", hint=_INSTEAD, line=node.lineno)
    if isinstance(node, (nodes.Expr, nodes.Stmt, nodes.Template)) and not isinstance(node, _NODES):
        word = type(node).__name__.lower()
        raise TemplateFault(
            f"Jinja's {word} is not allowed in SQL", hint="allowed: {{ }}, if, for, set, raw", line=node.lineno
        )


def _instead_of(name: str) -> str:
    if name == "join":
        return "a list of values is an array: IN UNNEST({{ values }}); a list of names is written {{ names | csv }}"
    if name in _IN_SQL:
        return f"write {_IN_SQL[name]}({{{{ name }}}}) in SQL"
    return (name not in FILTERS and did_you_mean(name, _FILTERS | _OURS)) or _INSTEAD


def _constants(expressions: Sequence[nodes.Node | None]) -> Iterator[nodes.Const]:
    """Find the string constants that may become an expression's value."""
    for node in expressions:
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            yield node
        elif isinstance(node, nodes.CondExpr):
            yield from _constants([node.expr1, node.expr2])
        elif isinstance(node, nodes.Filter):
            yield from _constants([] if node.name in _OURS else [node.node, *node.args])
        elif isinstance(node, nodes.Getitem):
            yield from _constants([node.node])
        elif isinstance(node, nodes.Dict):
            yield from _constants([pair.value for pair in node.items])
        elif isinstance(node, (nodes.And, nodes.Or, nodes.Add, nodes.Mul, nodes.Mod)):
            yield from _constants([node.left, node.right])
        elif isinstance(node, (nodes.List, nodes.Tuple)):
            yield from _constants(node.items)


def _marked(node: Any) -> Any:
    """Make every string constant below a node a :class:`Constant`."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return nodes.Filter(node, _CONSTANT, [], [], None, None, lineno=node.lineno)
    for name, child in node.iter_fields():
        if isinstance(child, nodes.Node):
            setattr(node, name, _marked(child))
        elif isinstance(child, list):
            setattr(node, name, [_marked(part) if isinstance(part, nodes.Node) else part for part in child])
    return node


@lru_cache(maxsize=1)
def _sandbox() -> SqlSandbox:
    return SqlSandbox()


@lru_cache(maxsize=512)
def prepare(text: str) -> Prepared:
    """Check and compile a SQL template.

    Raises:
        TemplateFault: Its syntax is wrong, or it uses what is not allowed.
    """
    return _sandbox().prepare(text)
