"""A DAG from a YAML or JSON document: the names and types of Python, as plain values.

Nothing in a document is executed or imported; the only code it can name are the operators of
:mod:`pydag_gcp.operators`. Every error names file, line and column.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pydag_gcp import operators
from pydag_gcp.dag import DAG
from pydag_gcp.document import Document
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
from pydag_gcp.identity import ID, ID_IN_WORDS
from pydag_gcp.literals import Literals, is_at_run_time
from pydag_gcp.model import complaint, dotted, names
from pydag_gcp.operator import Operator, ServiceName
from pydag_gcp.retry import Retry
from pydag_gcp.source import Source, defined_at

#: What a task in a document has beside the fields of its operator.
OWN_FIELDS = ("operator", "upstream")

#: Complaints about a name rather than its value.
_OF_NAMES = frozenset({"no such field", "is required"})


class Pipeline(BaseModel):
    """A pipeline as a document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dag: str = Field(pattern=f"^{ID}$", description=f"Unique name of the pipeline: {ID_IN_WORDS}")
    schedule: str | None = Field(
        default=None, description="Cron expression in UTC; gives runs their default logical date"
    )
    retry: Retry | None = Field(default=None, description="Retry policy of tasks that have none")
    params: dict[str, Any] = Field(default={}, description="Parameters that --param may set, and their default values")
    description: str = Field(default="", description="What it is for")
    max_processors: int | None = Field(default=None, ge=1, description="Most processors that a run may hold")
    weight: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Its share of processors that several runs want"
    )
    limits: dict[ServiceName, Annotated[int, Field(ge=1)]] = Field(
        default={}, description="Most jobs that a run has in flight, by service"
    )
    on_sigterm: Literal["detach", "cancel"] = Field(
        default="detach", description="What happens to remote jobs when the process is told to stop"
    )
    infer: bool = Field(default=False, description="Add the edges that follow from what tasks read and write")
    tasks: dict[str, dict[str, Any]] = Field(min_length=1, description="The tasks by id, in the order of definition")


def define(document: Document) -> DAG:
    """Make the DAG that a document describes.

    Raises:
        DefinitionError: Something in it is wrong; names file, line and column, and shows the line.
    """
    head = _head(document)
    literals = Literals(document=document, tasks=head.tasks)
    params = {name: literals.meant(("params", name), value, at_run_time=False) for name, value in head.params.items()}
    with _placed(document, ("schedule",)), _at(document, ("dag",)):
        dag = DAG(
            head.dag,
            schedule=head.schedule,
            retry=head.retry,
            params=params,
            description=head.description,
            max_processors=head.max_processors,
            weight=head.weight,
            limits={str(service): most for service, most in head.limits.items()},
            on_sigterm=head.on_sigterm,
            infer=head.infer,
        )
    with dag:
        for task_id, fields in head.tasks.items():
            _define_task(literals, task_id, fields)
    for task_id, fields in head.tasks.items():
        for above in _task_ids(literals, task_id, "upstream", fields):
            dag.connect(dag.tasks[above], dag.tasks[task_id])
    return dag


def find_operator(name: str) -> type[Operator] | None:
    """Return the operator of this name, if there is one."""
    found = getattr(operators, name) if name in operators.__all__ else None
    return found if isinstance(found, type) and issubclass(found, Operator) else None


def operator_names() -> list[str]:
    """The names of all operators."""
    return [name for name in operators.__all__ if find_operator(name) is not None]


def names_in_document(operator: type[Operator]) -> list[str]:
    """What a task of this operator may say in a document."""
    return [*OWN_FIELDS, *(name for name in names(operator) if name != "task_id")]


def _head(document: Document) -> Pipeline:
    given = document.value
    if not isinstance(given, dict):
        kind = "nothing" if given is None else "a list" if isinstance(given, list) else "a single value"
        raise document.error(f"holds {kind}", hint="a pipeline is a mapping with `dag:` and `tasks:`")
    try:
        return Pipeline(**given)
    except ValidationError as error:
        bare = complaint(error, given=given, known=names(Pipeline))
        raise _located(document, bare, ()) from None


def _define_task(literals: Literals, task_id: str, fields: Mapping[str, Any]) -> None:
    document, keys = literals.document, ("tasks", task_id)
    if not re.fullmatch(ID, task_id):
        raise document.error(f"a task id is {ID_IN_WORDS}, got {task_id!r}", keys, of_key=True)
    operator = _operator(document, task_id, fields)
    known = names_in_document(operator)
    for name in fields.keys() - known:
        hint = did_you_mean_one_of(name, known)
        error = DefinitionError("no such field", hint=hint, loc=(name,))
        raise _located(document, error, keys, task=task_id)
    list(_task_ids(literals, task_id, "teardown_of", fields))
    given = {
        name: _field(literals, (*keys, name), value, operator=operator)
        for name, value in fields.items()
        if name not in OWN_FIELDS
    }
    with _placed(document, keys, task=task_id), _at(document, keys):
        operator(task_id=task_id, **given)


def _operator(document: Document, task_id: str, fields: Mapping[str, Any]) -> type[Operator]:
    name = fields.get("operator")
    keys = ("tasks", task_id, "operator")
    if "operator" not in fields:
        raise document.error("is required", keys, task=task_id, field="operator", of_key=True)
    found = find_operator(name) if isinstance(name, str) else None
    if found is not None:
        return found
    known = operator_names()
    hint = did_you_mean_one_of(str(name), known)
    if re.search("[.:]", str(name)):
        hint = f"it is one of {', '.join(known)}; a document names no code: write operators of your own in Python"
    raise document.error(f"no operator {name!r}", keys, task=task_id, field="operator", hint=hint)


def _field(literals: Literals, keys: tuple[str, str, str], value: Any, *, operator: type[Operator]) -> Any:
    """What the value of a field means: at any depth where it may be known at run time only, else as it is."""
    name = keys[-1]
    if name not in operator.param_fields() and not is_at_run_time(value):  # if it is, the operator says where it may be
        return value
    if isinstance(value, dict) and _has_names(operator, name):
        return {key: literals.meant((*keys, key), item, at_run_time=True) for key, item in value.items()}
    return literals.meant(keys, value, at_run_time=True)


def _has_names(operator: type[Operator], name: str) -> bool:
    """Whether a field is itself a mapping of names of the author's choice."""
    info = next(info for field, info in operator.model_fields.items() if name == (info.alias or field))
    return _is_mapping(info.annotation)


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict or any(map(_is_mapping, get_args(annotation)[:1]))


def _task_ids(literals: Literals, task_id: str, field: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """The ids of other tasks that a field names: one, or a list."""
    given = fields.get(field)
    keys = ("tasks", task_id, field)
    if given is None or isinstance(given, str):
        given = [] if given is None else [given]
    if not isinstance(given, list):
        what = f"expected a list of task ids, got {given!r}"
        raise literals.document.error(what, keys, task=task_id, field=field)
    for number, other in enumerate(given):
        if other == task_id:
            what, hint = "a task cannot wait for itself", None
        elif not isinstance(other, str) or other not in literals.tasks:
            what, hint = f"no task {other!r}", did_you_mean_one_of(str(other), literals.tasks)
        else:
            yield other
            continue
        raise literals.document.error(what, (*keys, number), task=task_id, field=field, hint=hint)


@contextlib.contextmanager
def _at(document: Document, keys: tuple[str, ...]) -> Iterator[None]:
    """Have what is constructed inside stand at the line of a name."""
    line = document.place(keys, of_key=True).line
    with defined_at(Source(file=str(document.file), line=line)):
        yield


@contextlib.contextmanager
def _placed(document: Document, keys: tuple[str, ...], *, task: str | None = None) -> Iterator[None]:
    """Name the place in the document in errors of what is constructed inside."""
    try:
        yield
    except DefinitionError as error:
        raise _located(document, error, keys, task=task) from None


def _located(
    document: Document, error: DefinitionError, keys: tuple[str, ...], *, task: str | None = None
) -> DefinitionError:
    if not keys and error.loc[:1] == ("tasks",) and len(error.loc) > 1:
        task = str(error.loc[1])
    return document.error(
        error.what,
        (*keys, *error.loc),
        hint=error.hint,
        task=task,
        field=dotted(error.loc) or None,
        of_key=error.what in _OF_NAMES,
    )
