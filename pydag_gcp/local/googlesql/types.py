"""BigQuery's types: as the analyser sees them, as the REST API describes them, and as DuckDB stores them.

A :class:`Type` is the type of a value; a :class:`Field` is a column: a name, a type and a mode. How values travel
over REST is the matter of :mod:`pydag_gcp.local.googlesql.wire`.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types and
https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Name in GoogleSQL -> how DuckDB stores it. TIMESTAMP is an instant: the session's time zone must be UTC.
_STORED = {
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMPTZ",
    "NUMERIC": "DECIMAL(38,9)",
    "JSON": "JSON",
}
#: Other spellings that GoogleSQL and the REST API accept.
ALIASES = {
    "INT": "INT64",
    "SMALLINT": "INT64",
    "INTEGER": "INT64",
    "BIGINT": "INT64",
    "TINYINT": "INT64",
    "BYTEINT": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
    "RECORD": "STRUCT",
}
#: Standard name -> the name that the REST API answers with.
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
MODES = ("NULLABLE", "REQUIRED", "REPEATED")


class UnsupportedType(ValueError):
    """A type that the local cloud does not hold (BIGNUMERIC, GEOGRAPHY, INTERVAL, RANGE) or does not know."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value.

    Attributes:
        name: GoogleSQL's name, upper case: ``INT64`` ... ``STRUCT``, ``ARRAY``; ``NULL`` for an untyped NULL.
        element: The type of an ARRAY's elements.
        members: Names and types of a STRUCT's fields; an unnamed one is called "".
    """

    name: str
    element: Type | None = None
    members: tuple[tuple[str, Type], ...] = ()

    def __str__(self) -> str:
        if self.element is not None:
            return f"ARRAY<{self.element}>"
        if self.name == "STRUCT":
            return "STRUCT<" + ", ".join(f"{name} {kind}".strip() for name, kind in self.members) + ">"
        return self.name

    @property
    def duckdb(self) -> str:
        """How DuckDB stores a value of this type.

        Raises:
            UnsupportedType: The local cloud does not hold this type.
        """
        if self.element is not None:
            return f"{self.element.duckdb}[]"
        if self.name == "STRUCT":
            names = member_names(self)
            inner = (f"{quoted(name)} {kind.duckdb}" for name, (_, kind) in zip(names, self.members, strict=True))
            return f"STRUCT({', '.join(inner)})"
        if self.name == "NULL":  # BigQuery types a bare NULL as INT64 when it must have a type
            return "BIGINT"
        try:
            return _STORED[self.name]
        except KeyError:
            raise UnsupportedType(f"type {self.name}") from None


def quoted(name: str) -> str:
    """Return ``name`` as an identifier of DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def member_names(struct: Type) -> tuple[str, ...]:
    """Return the names that DuckDB knows a STRUCT's fields by: unnamed ones are ``_field_1``... as over REST."""
    return tuple(name or f"_field_{place}" for place, (name, _) in enumerate(struct.members, 1))


INT64, FLOAT64, BOOL, STRING, BYTES = (Type(name) for name in ("INT64", "FLOAT64", "BOOL", "STRING", "BYTES"))
DATE, DATETIME, TIME, TIMESTAMP = (Type(name) for name in ("DATE", "DATETIME", "TIME", "TIMESTAMP"))
NUMERIC, JSON, NULL = Type("NUMERIC"), Type("JSON"), Type("NULL")


def array(element: Type) -> Type:
    """Return ``ARRAY<element>``."""
    return Type("ARRAY", element=element)


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of a table or of a result, or one field of a STRUCT column.

    Attributes:
        name: The column's name, in the case it was written in.
        type: GoogleSQL's name of the type (of the *elements*, if ``mode`` is REPEATED); never ``ARRAY``.
        mode: ``NULLABLE``, ``REQUIRED`` or ``REPEATED``.
        fields: The fields of a STRUCT.
        description: Free text.
        precision: P of NUMERIC(P, S).
        scale: S of NUMERIC(P, S).
        max_length: L of STRING(L) (characters) and BYTES(L) (bytes).
        default: The GoogleSQL expression of the default value.
    """

    name: str
    type: str
    mode: str = "NULLABLE"
    fields: tuple[Field, ...] = ()
    description: str | None = None
    precision: int | None = None
    scale: int | None = None
    max_length: int | None = None
    default: str | None = None

    @classmethod
    def from_api(cls, resource: Mapping[str, Any]) -> Field:
        """Read a TableFieldSchema.

        Raises:
            UnsupportedType: The type is unknown or not held by the local cloud.
            ValueError: The name or the mode is missing or wrong.
        """
        name, mode = resource.get("name"), str(resource.get("mode") or "NULLABLE").upper()
        if not name:
            raise ValueError("a field of the schema has no name")
        if mode not in MODES:
            raise ValueError(f"field {name}: mode {mode} is none of {', '.join(MODES)}")
        kind = standard_name(str(resource.get("type") or ""))
        if kind == "STRUCT" and not resource.get("fields"):
            raise ValueError(f"Field {name} is type RECORD but has no schema")
        return cls(
            name=str(name),
            type=kind,
            mode=mode,
            fields=tuple(cls.from_api(child) for child in resource.get("fields", ())) if kind == "STRUCT" else (),
            description=resource.get("description"),
            precision=_whole(resource.get("precision")),
            scale=_whole(resource.get("scale")),
            max_length=_whole(resource.get("maxLength")),
            default=resource.get("defaultValueExpression"),
        )

    def to_api(self) -> dict[str, Any]:
        """Return the TableFieldSchema, with the legacy type names that the REST API answers."""
        resource: dict[str, Any] = {
            "name": self.name,
            "type": _LEGACY.get(self.type, self.type),
            "mode": self.mode,
        }
        if self.fields:
            resource["fields"] = [child.to_api() for child in self.fields]
        numbers = {"precision": self.precision, "scale": self.scale, "maxLength": self.max_length}
        resource |= {key: str(number) for key, number in numbers.items() if number is not None}
        texts = {"description": self.description, "defaultValueExpression": self.default}
        return resource | {key: text for key, text in texts.items() if text is not None}

    @property
    def value_type(self) -> Type:
        """The type of the column's values: an ARRAY if it is REPEATED."""
        members = tuple((child.name, child.value_type) for child in self.fields)
        single = Type(self.type, members=members)
        return array(single) if self.mode == "REPEATED" else single


def standard_name(name: str) -> str:
    """Return GoogleSQL's name of a type written in any accepted way.

    Raises:
        UnsupportedType: The local cloud does not hold it.
    """
    upper = name.upper()
    kind = ALIASES.get(upper, upper)
    if kind not in _STORED and kind != "STRUCT":
        raise UnsupportedType(f"type {upper or '(none)'}")
    return kind


def field_of(name: str, kind: Type, *, mode: str | None = None) -> Field:
    """Return the column that holds values of ``kind``."""
    single = kind.element or kind
    names = member_names(single)
    return Field(
        name=name,
        type="INT64" if single.name == "NULL" else single.name,
        mode=mode or ("REPEATED" if kind.element else "NULLABLE"),
        fields=tuple(field_of(n, member) for n, (_, member) in zip(names, single.members, strict=True)),
    )


def duckdb_type(field: Field) -> str:
    """Return the type of the DuckDB column that stores ``field``.

    Raises:
        UnsupportedType: The local cloud does not hold this type.
    """
    return field.value_type.duckdb


def _whole(number: object) -> int | None:
    return None if number is None else int(str(number))
