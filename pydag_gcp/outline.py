"""What a run does, as it is recorded: enough to tell, when it goes on, which of its tasks are no longer what they were.

There may be 100,000 tasks, nearly all of them alike. What tasks have in common is written, and looked at, once: their
operator, their fields, the code of their function. What a function is called with is each task's own.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydag_gcp import fingerprint
from pydag_gcp.canonical import Canonical, Unhashable
from pydag_gcp.fingerprint import Fingerprint
from pydag_gcp.function import FunctionTask, twin_of
from pydag_gcp.operator import Operator
from pydag_gcp.resources import Resource

if TYPE_CHECKING:
    from pydag_gcp.planner import Plan

#: From so many tasks on what is said of them is packed.
_VERY_MANY = 10_000

#: What a task does not go on without, beside what it is: field -> what to call it.
_FIELDS = {"trigger_rule": "its trigger rule", "teardown_of": "what it cleans up after"}

#: What tasks say of themselves if it follows from their fields alone, so that of those with equal fields one is asked.
_BY_FIELDS = (Operator.identity, FunctionTask.identity)


def outline(plan: Plan) -> dict[str, Any]:
    """Say what the tasks of a plan are and wait for, as JSON: tasks of one kind refer to it by its number.

    Of very many tasks it is packed, as a database writes the row of a run as a whole whenever its state changes.
    """
    said = {**_described(plan, plan.tasks), "upstream": plan.upstream}
    return said if len(plan.tasks) < _VERY_MANY else {"packed": _packed(said)}


def read(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Read what :func:`outline` made, or what older versions recorded.

    Returns:
        ``upstream`` and ``tasks``: task id -> ``operator``, ``trigger_rule``, ``teardown_of``; ``fingerprint``, which
        may be missing; and ``arguments``, where they are not part of the fingerprint.
    """
    if "packed" in definition:
        definition = json.loads(zlib.decompress(base64.b64decode(definition["packed"])))
    recorded = definition.get("tasks", {})
    if "kinds" in definition:
        kinds = definition["kinds"]
        found = {task_id: recorded.get(task_id, 0) for task_id in definition["upstream"]}
        tasks = {
            task_id: kinds[kind] if isinstance(kind, int) else {**kinds[kind[0]], "arguments": kind[1]}
            for task_id, kind in found.items()
        }
    else:
        fingerprints = definition.get("fingerprints", {})
        names = ("operator", *_FIELDS)
        tasks = {
            task_id: {**{name: said[name] for name in names if name in said}, "fingerprint": fingerprints.get(task_id)}
            for task_id, said in recorded.items()
        }
    return {"tasks": tasks, "upstream": definition.get("upstream", {})}


def changes(plan: Plan, before: Mapping[str, Any], task_ids: Iterable[str]) -> dict[str, list[str]]:
    """Say in words what has changed of tasks since they were recorded; only of those of which anything has.

    Args:
        plan: What they are now.
        before: What :func:`read` says.
        task_ids: Tasks of the plan.
    """
    chosen = dict.fromkeys(task_ids)
    now = read({**_described(plan, chosen), "upstream": chosen})["tasks"]
    found = {task_id: _changes(plan, before, said, task_id) for task_id, said in now.items()}
    return {task_id: words for task_id, words in found.items() if words}


def _changes(plan: Plan, before: Mapping[str, Any], now: Mapping[str, Any], task_id: str) -> list[str]:
    old = before["tasks"].get(task_id)
    if old is None:
        return ["is new"]
    if "arguments" in now and "arguments" not in old:
        now = {**now, "fingerprint": _written(fingerprint.of(plan.tasks[task_id], plan.context_of(task_id)))}
    changed = _changed_parts(old.get("fingerprint"), now["fingerprint"])
    if "arguments" in old and old["arguments"] != now.get("arguments", {}):
        changed += Fingerprint(parts=now.get("arguments", {})).changed(old["arguments"])
    changed += [words for name, words in _FIELDS.items() if name in old and now[name] != old[name]]
    if set(plan.upstream[task_id]) != set(before["upstream"][task_id]):
        changed.append("what it waits for")
    return changed


def _changed_parts(old: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    if old is None or now["digest"] == old["digest"]:
        return []
    return Fingerprint(parts=now["parts"]).changed(old["parts"]) if now["digest"] and old["digest"] else ["what it is"]


def _described(plan: Plan, task_ids: Iterable[str]) -> dict[str, Any]:
    """What tasks are: each its kind, and what its function is called with; none if that is the first, and nothing."""
    kinds: list[dict[str, Any]] = []
    numbers: dict[object, int] = {}
    tasks: dict[str, Any] = {}
    of_twins: dict[int, int] = {}
    for task_id in task_ids:
        task = plan.tasks[task_id]
        first, own = twin_of(task), None
        number = of_twins.get(id(first))
        if number is None:
            own = _arguments(task)
            key = _key(task, own)
            number = numbers.setdefault(key, len(kinds))
            if number == len(kinds):
                kinds.append(_kind(plan, task, own))
            if first is not None and key is not task:
                of_twins[id(first)] = number
        if number or own:
            tasks[task_id] = [number, own] if own else number
    return {"tasks": tasks, "kinds": kinds}


def _kind(plan: Plan, task: Operator, own: Mapping[str, str] | None) -> dict[str, Any]:
    bare = task if own is None else task.model_copy(update={"arguments": {}})
    said = {
        "operator": type(task).__name__,
        "trigger_rule": task.trigger_rule.value,
        "teardown_of": list(task.teardown_of),
        "fingerprint": _written(fingerprint.of(bare, plan.context_of(task.task_id))),
    }
    return said if own is None else {**said, "arguments": {}}


def _packed(said: Mapping[str, Any]) -> str:
    """JSON as text of a tenth of its length, made faster than it is written to a disk."""
    return base64.b64encode(zlib.compress(json.dumps(said).encode(), level=1)).decode()


def _written(found: Fingerprint) -> dict[str, Any]:
    return {"digest": found.digest, "parts": dict(found.parts)}


def _key(task: Operator, own: Mapping[str, str] | None) -> object:
    """What is equal only of tasks of one kind: those whose fields are the very same objects."""
    if type(task).identity not in _BY_FIELDS:
        return task
    given = task.model_fields_set
    fields = task.__dict__
    apart = fingerprint.CIRCUMSTANCES if own is None else _APART
    values = [id(fields[name]) for name in given if name not in apart]
    return (type(task), task.trigger_rule, task.teardown_of, id(given), own is None, *values)


#: What tasks of one kind may differ in.
_APART = fingerprint.CIRCUMSTANCES | {"arguments"}


def _arguments(task: Operator) -> dict[str, str] | None:
    """A short hash of each argument of a task's function; None if one is more than data, or there is no function."""
    if type(task).identity is not FunctionTask.identity:
        return None
    given: Mapping[str, Any] = task.__dict__["arguments"]
    try:
        return {f"argument {name}": fingerprint.short(_DATA.form(value)) for name, value in given.items()}
    except Unhashable:
        return None


def _data(value: Any) -> Any:
    if isinstance(value, Resource):
        return _DATA.of_object(value)
    raise Unhashable(f"a {type(value).__qualname__} is more than data")


#: Writes data. What may refer to code of the project is a matter of the whole fingerprint.
_DATA = Canonical(_data, ordered=True)
