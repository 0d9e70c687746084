"""One strict Jinja sandbox: it renders a template to its pieces, each with its place in the source.

Jinja itself would join the pieces to a text; who asks here still wants to know what came from where, and values as they
are. Imports jinja2, so it is itself imported only when there is something to render.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, nodes, pass_context
from jinja2.filters import do_round
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from pydag_gcp.errors import DefinitionError, did_you_mean_one_of

#: The filter that every placeholder's value goes through.
EMIT = "pydag_emit"

_COUNTED, _CHECKED = "pydag_counted", "pydag_checked"
_TURNS = "pydag turns"  # no template can name it

#: A pipeline is data to whoever runs it: a few characters of it may take neither hours nor all memory.
_MOST_TURNS = 100_000
_LONGEST = 1_000_000
_MOST_BITS = 4096
#: What pads text to any width, or counts to any number.
_BOUNDLESS_FILTERS = ("batch", "center", "format", "indent", "round", "slice")
_BOUNDLESS_METHODS = frozenset(("center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"))

# What expressions raise when they are evaluated; a filter's DefinitionError is a ValueError.
_EVALUATION_ERRORS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


class TemplateFault(Exception):
    """A template is wrong; whoever knows its file makes a :class:`~pydag_gcp.errors.DefinitionError` of it.

    Args:
        what: What is wrong.
        hint: How to mend it.
        line: The template's line, from 1, where it is known.
        offset: The place in the template's text, where it is known.
    """

    def __init__(
        self, what: str, *, hint: str | None = None, line: int | None = None, offset: int | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.line = line
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Span:
    """Where a piece comes from: template text, or a placeholder from ``{{`` to ``}}``."""

    start: int
    end: int
    is_text: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Template text as it stands, or the value of a placeholder."""

    span: Span
    value: Any


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A compiled template.

    Attributes:
        source: Its text, line ends normalised.
        spans: Its stretches of text and its placeholders, in order.
        names: The variables that must be there, and the line of their first use.
        used: All variables, and ``x`` of each ``params.x``.
    """

    source: str
    spans: tuple[Span, ...]
    names: Mapping[str, int]
    used: frozenset[str]
    template: Template

    @property
    def is_one_placeholder(self) -> bool:
        """Whether it is exactly one ``{{ expression }}``."""
        return len(self.spans) == 1 and not self.spans[0].is_text and self.spans[0].end == len(self.source)

    def pieces(self, variables: Mapping[str, Any]) -> Iterator[Piece]:
        """Evaluate the template.

        Raises:
            TemplateFault: It uses a name that is not there, or an expression fails.
        """
        for name, line in self.names.items():
            if name not in variables:
                hint = did_you_mean_one_of(name, sorted(variables))
                raise TemplateFault(f"unknown name {name!r}", hint=hint, line=line)
        context = self.template.new_context({**variables, _TURNS: itertools.count(1)})
        pairs: Iterator[Any] = self.template.root_render_func(context)
        try:
            for index, value in pairs:
                yield Piece(self.spans[index], value)
        except _EVALUATION_ERRORS as error:
            raise self._fault(error) from error
        except (MemoryError, RecursionError) as error:
            raise TemplateFault("asks for too much", line=self._line(error.__traceback__)) from error
        except TemplateFault as fault:
            fault.line = fault.line or self._line(fault.__traceback__)
            raise

    def _fault(self, error: Exception) -> TemplateFault:
        line = self._line(error.__traceback__)
        if isinstance(error, DefinitionError):
            return TemplateFault(error.what, hint=error.hint, line=line)
        return TemplateFault(str(error), line=line)

    def _line(self, trace: TracebackType | None) -> int | None:
        line = None
        while trace is not None:
            if trace.tb_frame.f_code is self.template.root_render_func.__code__:
                line = self.template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


class Missing(StrictUndefined):
    """A name that is not there: any use is an error that names its neighbours."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, parent = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(name, str) or not isinstance(parent, Mapping):
            return super()._undefined_message
        known = [key for key in parent if isinstance(key, str)]
        return f"unknown name {name!r}; {did_you_mean_one_of(name, sorted(known))}"


@pass_context  # so that Jinja's optimiser leaves it alone
def _emit(_: Context, value: Any, index: int) -> tuple[int, Any]:
    if isinstance(value, Undefined):
        str(value)  # raises
    return index, value


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    """Count the turns of all loops of a template together."""
    for item in items:
        if next(context[_TURNS]) > _MOST_TURNS:
            raise TemplateFault(f"loops take more than {_MOST_TURNS:,} turns")
        yield item


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > _MOST_BITS:
        raise TemplateFault(f"cannot round to {precision} places")
    return do_round(value, precision, method)  # type: ignore[arg-type]  # refuses another method


@pass_context
def _checked(_: Context, result: Any) -> Any:
    if isinstance(result, (str, bytes, list, tuple)) and len(result) > _LONGEST:
        raise TemplateFault(f"a value of more than {_LONGEST:,} characters or items")
    return result


def _product(left: Any, right: Any) -> None:
    """Refuse a repetition, or a product, that is too long; before it is made."""
    for value, times in ((left, right), (right, left)):
        if isinstance(value, (str, bytes, list, tuple)) and isinstance(times, int) and len(value) * times > _LONGEST:
            raise TemplateFault(f"a value of more than {_LONGEST:,} characters or items")
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _MOST_BITS:
        raise TemplateFault("a number that is too large")


def _power(base: Any, exponent: Any) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > _MOST_BITS:
        raise TemplateFault("a number that is too large")


def _remainder(left: Any, _: Any) -> None:
    if isinstance(left, (str, bytes)):
        raise TemplateFault("% does not format text here", hint="write {{ name }} where the value belongs")


class _Limited(NodeTransformer):
    """Puts the limits into a template: on turns of loops, and on what filters and ``~`` give."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  the visitor looks it up by this name
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _COUNTED, [], [], None, None, lineno=node.lineno)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802  likewise
        self.generic_visit(node)
        return nodes.Filter(node, _CHECKED, [], [], None, None, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  likewise
        self.generic_visit(node)
        return nodes.Filter(node, _CHECKED, [], [], None, None, lineno=node.lineno)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without templates in other files, and with limits; a subclass may allow less of the language."""

    code_generator_class = NativeCodeGenerator
    intercepted_binops = frozenset(("*", "**", "%", "+"))
    #: Statements of Jinja that need other files.
    refused: tuple[type[nodes.Node], ...] = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)

    def __init__(self) -> None:
        super().__init__(undefined=Missing, keep_trailing_newline=True)
        del self.globals["lipsum"]
        self.filters = {name: made for name, made in self.filters.items() if name not in _BOUNDLESS_FILTERS}
        self.filters |= {EMIT: _emit, _COUNTED: _counted, _CHECKED: _checked, "round": _round}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute what is not too much."""
        check = {"*": _product, "**": _power, "%": _remainder}.get(operator)
        if check is not None:
            check(left, right)
        return _checked(context, super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what is safe, and look at the length of what comes."""
        return _checked(context, super().call(context, called, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> None:
        """Leave ``format`` to :meth:`is_safe_attribute`: it pads to any width."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use an attribute."""
        boundless = isinstance(obj, (str, bytes)) and attr in _BOUNDLESS_METHODS
        return not boundless and super().is_safe_attribute(obj, attr, value)

    def prepare(self, source: str) -> Prepared:
        """Check and compile a template.

        Raises:
            TemplateFault: Its syntax is wrong, or it uses what is not allowed.
        """
        source = source.replace("\r\n", "\n").replace("\r", "\n")
        try:
            tree = self.parse(source)
            self.review(tree)
            variables = meta.find_undeclared_variables(tree)
            names = _lines(tree, variables - self.globals.keys())
            used = frozenset(variables | _parameters(tree))
            spans = tuple(_spans(self.lexer.tokeniter(source, None), source))
            _Limited().visit(tree)
            _number(tree)
            template = Template.from_code(self, self.compile(tree), self.make_globals(None))
        except TemplateSyntaxError as error:
            raise TemplateFault(error.message or "syntax error", line=error.lineno) from None
        return Prepared(source=source, spans=spans, names=names, used=used, template=template)

    def review(self, tree: nodes.Template) -> None:
        """Refuse what this environment does not allow.

        Raises:
            TemplateFault: Names it.
        """
        for node in tree.find_all(self.refused):
            word = type(node).__name__.lower()
            raise TemplateFault(f"{{% {word} %}} is not allowed", hint="write one template", line=node.lineno)


def _lines(tree: nodes.Template, variables: set[str]) -> dict[str, int]:
    """Find where each variable is first used; one that the template asks for with ``is defined`` may be missing."""
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in variables:
            lines.setdefault(node.name, node.lineno)
    for test in tree.find_all(nodes.Test):
        if test.name in {"defined", "undefined"} and isinstance(test.node, nodes.Name):
            lines.pop(test.node.name, None)
    return lines


def _parameters(tree: nodes.Template) -> set[str]:
    found: set[str] = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if not isinstance(node, (nodes.Getattr, nodes.Getitem)):
            continue
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        if isinstance(node.node, nodes.Name) and node.node.name == "params" and isinstance(key, str):
            found.add(key)
    return found


def _spans(raw: Iterator[tuple[int, str, str]], source: str) -> Iterator[Span]:
    """Find text and placeholders. Jinja's raw tokens are the whole source but for white space cut off by ``-``."""
    position = opened = 0
    for _, kind, text in raw:
        while not source.startswith(text, position):
            position += 1
        if kind == "variable_begin":
            opened = position
        elif kind == "data" and text:
            yield Span(position, position + len(text), is_text=True)
        position += len(text)
        if kind == "variable_end":
            yield Span(opened, position, is_text=False)


def _number(tree: nodes.Template) -> None:
    """Make every piece of output a pair of its number and its value."""
    number = 0
    for output in tree.find_all(nodes.Output):
        emitted: list[nodes.Expr] = []
        for child in output.nodes:
            node = nodes.Const(child.data, lineno=child.lineno) if isinstance(child, nodes.TemplateData) else child
            arguments: list[nodes.Expr] = [nodes.Const(number)]
            emitted.append(nodes.Filter(node, EMIT, arguments, [], None, None, lineno=child.lineno))
            number += 1
        output.nodes = emitted
