"""The JSON Schema of pipelines in YAML and JSON, with which editors complete and check them.

``python -m pydag_gcp.schema`` prints it; ``docs/pipeline.schema.json`` is a copy, and a test keeps it true.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pydag_gcp.definition import Pipeline, find_operator, operator_names
from pydag_gcp.operator import Operator
from pydag_gcp.operators import Partitioning
from pydag_gcp.resources import Cluster, GCSObject, Table

#: Models that a document may also write as one text: their first field.
_SHORT: tuple[type[BaseModel], ...] = (Cluster, GCSObject, Partitioning, Table)

_TASK_IDS: JsonSchemaValue = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class _Generator(GenerateJsonSchema):
    """What a document may hold, where that is more than pydantic would say."""

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """A number is taken for its text where the model says so."""
        said = super().str_schema(schema)
        return {**said, "type": ["string", "number"]} if self._config.coerce_numbers_to_str else said


def pipeline_schema() -> dict[str, Any]:
    """Return the schema of a pipeline: https://json-schema.org/draft/2020-12."""
    whole = _of(Pipeline)
    definitions: dict[str, Any] = whole.pop("$defs", {})
    operators = [operator for name in operator_names() if (operator := find_operator(name)) is not None]
    for operator in operators:
        definitions |= _task_definitions(operator)
    for model in _SHORT:
        first = next(iter(model.model_fields))
        short = {"type": "string", "description": definitions[model.__name__]["properties"][first]["description"]}
        definitions[model.__name__] = {"anyOf": [short, definitions[model.__name__]]}
    definitions["Task"] = _any_task(operators)
    whole["properties"]["tasks"] |= {
        "additionalProperties": {"$ref": "#/$defs/Task"},
        "propertyNames": {"pattern": Operator.model_json_schema()["properties"]["task_id"]["pattern"]},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": "A pydag-gcp pipeline",
        "description": "A pipeline as a document: the names and types of Python",
        "$defs": dict(sorted(definitions.items())),
    }


def _any_task(operators: list[type[Operator]]) -> JsonSchemaValue:
    """The operator decides which fields there are."""
    described = [{"const": kind.__name__, "description": _summary(kind)} for kind in operators]
    return {
        "type": "object",
        "required": ["operator"],
        "properties": {"operator": {"description": "What kind of work it is", "oneOf": described}},
        "allOf": [
            {
                "if": {"properties": {"operator": {"const": kind.__name__}}, "required": ["operator"]},
                "then": {"$ref": f"#/$defs/{kind.__name__}"},
            }
            for kind in operators
        ],
    }


def _task_definitions(operator: type[Operator]) -> dict[str, Any]:
    """A task of one operator, and what its fields are made of, by name."""
    said = _of(operator)
    definitions: dict[str, Any] = said.pop("$defs", {})
    if operator.shows_secrets:
        said = _without_secrets(said)
    fields = {name: field for name, field in said["properties"].items() if name != "task_id"}
    said["properties"] = {
        "operator": {"const": operator.__name__},
        "upstream": {**_TASK_IDS, "description": "The tasks that must end before it starts"},
        **fields,
    }
    said["required"] = ["operator", *(name for name in said["required"] if name != "task_id")]
    said["description"] = _summary(operator)
    return {**definitions, operator.__name__: said}


def _of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema without pydantic's titles, which repeat the names."""
    found: dict[str, Any] = _untitled(model.model_json_schema(schema_generator=_Generator))
    return found


def _untitled(value: Any) -> Any:
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    if isinstance(value, dict):
        return {name: _untitled(item) for name, item in value.items() if name != "title" or not isinstance(item, str)}
    return value


def _without_secrets(value: Any) -> Any:
    """A schema in which no value may be a secret."""
    if isinstance(value, list):
        return [_without_secrets(item) for item in value if not _is_secret(item)]
    if isinstance(value, dict):
        return {name: _without_secrets(item) for name, item in value.items()}
    return value


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get("required") == ["secret"]


def _summary(operator: type[Operator]) -> str:
    return (operator.__doc__ or "").strip().partition("\n")[0]


def text() -> str:
    """The schema as the text of its file."""
    return json.dumps(pipeline_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - printing is what the command is for
