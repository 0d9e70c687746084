"""What a parsed statement is, and what it writes.

Imports sqlglot, so it is itself imported only when there is SQL to analyse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

#: The one kind of statement that leaves its script a single one:
#: https://cloud.google.com/bigquery/docs/user-defined-functions
TEMPORARY_FUNCTION = "CREATE_TEMP_FUNCTION"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a statement is and writes.

    Attributes:
        kind: BigQuery's statementType.
        targets: What it writes; None if not known.
        skip: The part of it that is not read.
        replaces: Nothing is left of what its targets held before.
        reads_more: It reads what its text does not say.
        unsteady: The same data may give another result.
        source_uris: Objects that it reads.
        target_uris: Objects that it writes.
        appends: It adds to its targets and leaves the rest as it is.
        shapes: It makes its targets, or makes sure of them, without touching a row.
    """

    kind: str
    targets: Sequence[exp.Table] | None = ()
    skip: exp.Expr | None = None
    replaces: bool = False
    reads_more: bool = False
    unsteady: bool = False
    source_uris: Sequence[str] = ()
    target_uris: Sequence[str] = ()
    appends: bool = False
    shapes: bool = False


_SILENT: dict[type[exp.Expr], str] = {
    exp.Declare: "DECLARE",
    exp.Set: "SET",
    exp.Transaction: "BEGIN_TRANSACTION",
    exp.Commit: "COMMIT_TRANSACTION",
    exp.Rollback: "ROLLBACK_TRANSACTION",
}


def effect_of(tree: exp.Expr) -> Effect | None:
    """Tell what a statement is and writes; None if that is not known."""
    if isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)):
        return Effect(kind="SELECT")
    if isinstance(tree, exp.Insert):
        return Effect(kind="INSERT", targets=_tables(tree.this), skip=tree.this, appends=True)
    if isinstance(tree, (exp.Update, exp.Merge)):
        return Effect(kind=tree.key.upper(), targets=_tables(tree.this))
    if isinstance(tree, exp.Delete):
        everything = tree.args.get("where") is not None and tree.args["where"].this == exp.true()
        return Effect(kind="DELETE", targets=_tables(tree.this, tree.args.get("tables")), replaces=everything)
    if isinstance(tree, exp.TruncateTable):
        return Effect(kind="TRUNCATE_TABLE", targets=_tables(tree.expressions), skip=tree, replaces=True)
    if isinstance(tree, exp.Create):
        return _create(tree)
    if isinstance(tree, exp.Drop):
        return _drop(tree)
    if isinstance(tree, exp.Alter):
        return _alter(tree)
    return _other(tree)


def _other(tree: exp.Expr) -> Effect | None:
    if isinstance(tree, exp.Export):
        return _export(tree)
    if isinstance(tree, exp.LoadData):
        overwrite, uris = bool(tree.args.get("overwrite")), _uris(tree.args.get("files"), "uris")
        return Effect(
            kind="LOAD_DATA",
            targets=_tables(tree.this),
            skip=tree,
            replaces=overwrite,
            reads_more=not uris,
            source_uris=uris,
            appends=not overwrite,
        )
    for kind, name in _SILENT.items():
        if isinstance(tree, kind):
            return Effect(kind=name)
    return None


def _export(tree: exp.Export) -> Effect:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/export-statements."""
    options = tree.args.get("options")
    uris = _uris(options, "uri")
    overwrite = _option(options, "overwrite") == exp.true()
    connection = tree.args.get("connection") or None
    known = () if uris and not connection else None
    return Effect(kind="EXPORT_DATA", targets=known, skip=connection, replaces=overwrite, target_uris=uris)


def _create(tree: exp.Create) -> Effect:
    kind = str(tree.args["kind"]).upper()
    properties = tree.args.get("properties")
    replaces = bool(tree.args.get("replace"))

    def has(property_type: type[exp.Expr]) -> bool:
        return properties is not None and properties.find(property_type) is not None

    if kind == "TABLE":
        name = "CREATE_TABLE_AS_SELECT" if tree.expression else "CREATE_TABLE"
        external = has(exp.ExternalProperty)
        name = "CREATE_EXTERNAL_TABLE" if external else name
        uris = _uris(properties, "uris") if external else ()
        empty = name == "CREATE_TABLE" and tree.args.get("clone") is None
        return Effect(
            kind=name,
            targets=_tables(tree.this),
            skip=tree.this,
            replaces=replaces,
            reads_more=external and not uris,
            source_uris=uris,
            appends=empty and bool(tree.args.get("exists")),
            shapes=empty and not replaces,
        )
    if kind == "VIEW":
        name = "CREATE_MATERIALIZED_VIEW" if has(exp.MaterializedProperty) else "CREATE_VIEW"
        return Effect(kind=name, targets=_tables(tree.this), skip=tree.this, replaces=replaces)
    if kind == "SCHEMA":
        return Effect(kind="CREATE_SCHEMA", targets=_tables(tree.this), skip=tree, shapes=True)
    if kind == "FUNCTION" and has(exp.TemporaryProperty):
        return Effect(kind=TEMPORARY_FUNCTION, skip=tree.this, unsteady=has(exp.LanguageProperty))
    return Effect(kind=f"CREATE_{kind}", targets=None, skip=tree.this, replaces=replaces, unsteady=True)


def _drop(tree: exp.Drop) -> Effect:
    kind = str(tree.args["kind"]).upper()
    if kind not in {"TABLE", "VIEW", "SCHEMA"}:
        return Effect(kind=f"DROP_{kind}", targets=None, skip=tree)
    name = f"DROP_MATERIALIZED_{kind}" if tree.args.get("materialized") else f"DROP_{kind}"
    return Effect(kind=name, targets=_tables(tree.args.get("tables"), tree.this), skip=tree, replaces=True)


def _alter(tree: exp.Alter) -> Effect:
    kind = str(tree.args["kind"]).upper()
    if kind not in {"TABLE", "VIEW"}:
        return Effect(kind=f"ALTER_{kind}", targets=None, skip=tree)
    targets = _tables(tree.this)
    renames = [action.this.name for action in tree.args.get("actions") or () if isinstance(action, exp.AlterRename)]
    for name in renames:  # into the same dataset
        renamed = targets[0].copy()
        renamed.set("this", exp.to_identifier(name))
        targets.append(renamed)
    return Effect(kind=f"ALTER_{kind}", targets=targets, skip=tree)


def _tables(*found: object) -> list[exp.Table]:
    """Take the table out of what names a statement's target."""
    tables = []
    for part in found:
        for node in part if isinstance(part, list) else [part]:
            target = node.this if isinstance(node, exp.Schema) else node
            if isinstance(target, exp.Table):
                tables.append(target)
    return tables


def _uris(options: exp.Expr | None, name: str) -> Sequence[str]:
    """Take the addresses of objects out of an option; none, unless they all are text and in Cloud Storage."""
    value = _option(options, name)
    found = value.expressions if isinstance(value, exp.Array) else [value]
    texts = [part.name for part in found if isinstance(part, exp.Literal) and part.is_string]
    return texts if len(texts) == len(found) and all(text.startswith("gs://") for text in texts) else ()


def _option(options: exp.Expr | None, name: str) -> object:
    for option in options.expressions if options is not None else ():
        if isinstance(option, exp.Property) and option.name.lower() == name:
            return option.args.get("value")
    return None
