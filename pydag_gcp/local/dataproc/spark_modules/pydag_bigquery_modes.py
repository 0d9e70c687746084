"""What Spark's Python data source interface cannot say, added to readers and writers of a job's driver.

It offers neither the save modes "error if exists" (Spark's default) and "ignore", nor a look at the session's settings,
in which the connector's options may stand too (``spark.conf.set("temporaryGcsBucket", ...)``).
"""

from __future__ import annotations

from typing import Any

import pydag_bigquery_clients  # type: ignore[import-not-found]
from pydag_bigquery_options import DEFAULT, MUST_BE_EMPTY, Options  # type: ignore[import-not-found]
from pyspark.sql.readwriter import DataFrameReader, DataFrameWriter

# ruff: noqa: SLF001  the session of a reader or writer has no public name

_NAMES = {"bigquery", "com.google.cloud.spark.bigquery"}
_PREFIX = "spark.datasource.bigquery."

#: Settings of a session that are options of the connector when they stand there without a prefix.
_GLOBAL = {
    "allowfieldaddition",
    "allowfieldrelaxation",
    "allowmaptypeconversion",
    "createdisposition",
    "dataset",
    "intermediateformat",
    "materializationdataset",
    "materializationproject",
    "maxparallelism",
    "parentproject",
    "partitionexpirationms",
    "partitionfield",
    "partitiontype",
    "persistentgcsbucket",
    "persistentgcspath",
    "project",
    "snapshottimemillis",
    "temporarygcsbucket",
    "viewsenabled",
    "writemethod",
}


def install() -> None:
    """Add it to Spark's classes, in this process."""
    _install_format(DataFrameReader)
    _install_format(DataFrameWriter)
    _install_load()
    _install_mode()
    _install_save()


def _install_format(kind: Any) -> None:
    original = kind.format

    def format(self: Any, source: str) -> Any:  # noqa: A001 it is Spark's own name
        self._pydag_bigquery = source in _NAMES or source.startswith("com.google.cloud.spark.bigquery.")
        return original(self, "bigquery" if self._pydag_bigquery else source)

    kind.format = format


def _install_load() -> None:
    original: Any = DataFrameReader.load

    def load(self: Any, path: Any = None, format: Any = None, schema: Any = None, **options: Any) -> Any:  # noqa: A002
        if format is not None:
            self.format(format)
        if getattr(self, "_pydag_bigquery", False):
            _add_defaults(self)
        return original(self, path, None, schema, **options)

    DataFrameReader.load = load  # type: ignore[method-assign]


def _install_mode() -> None:
    original: Any = DataFrameWriter.mode

    def mode(self: Any, saveMode: str | None) -> Any:  # noqa: N803 it is Spark's own name
        self._pydag_mode = saveMode
        return original(self, saveMode)

    DataFrameWriter.mode = mode  # type: ignore[method-assign]


def _install_save() -> None:
    original: Any = DataFrameWriter.save
    keep_option, keep_options = DataFrameWriter.option, DataFrameWriter.options

    def option(self: Any, key: str, value: Any) -> Any:
        _given(self)[key] = value
        return keep_option(self, key, value)

    def options(self: Any, **given: Any) -> Any:
        _given(self).update(given)
        return keep_options(self, **given)

    def save(
        self: Any,
        path: str | None = None,
        format: str | None = None,  # noqa: A002
        mode: str | None = None,
        partitionBy: Any = None,  # noqa: N803
        **more: Any,
    ) -> None:
        if format is not None:
            self.format(format)
        if not getattr(self, "_pydag_bigquery", False):
            original(self, path, None, mode, partitionBy, **more)
            return
        if partitionBy:
            raise ValueError("bigquery: partitionBy is not supported; use the option 'partitionField'")
        self.options(**more, **({"path": path} if path else {}))
        _add_defaults(self)
        if _settle_mode(self, (mode or getattr(self, "_pydag_mode", None) or "error").lower()):
            original(self)

    DataFrameWriter.option = option  # type: ignore[method-assign]
    DataFrameWriter.options = options  # type: ignore[method-assign]
    DataFrameWriter.save = save  # type: ignore[method-assign]


def _given(writer: Any) -> dict[str, Any]:
    if not hasattr(writer, "_pydag_options"):
        writer._pydag_options = {}
    return writer._pydag_options  # type: ignore[no-any-return]


def _add_defaults(builder: Any) -> None:
    for name, value in builder._spark.conf.getAll.items():
        short = name.removeprefix(_PREFIX)
        if short != name or name.lower() in _GLOBAL or name.lower().startswith("bigqueryjoblabel."):
            builder.option(f"{DEFAULT}{short}", value)
    builder.option(
        f"{DEFAULT}partitionOverwriteMode", builder._spark.conf.get("spark.sql.sources.partitionOverwriteMode")
    )


def _settle_mode(writer: Any, mode: str) -> bool:
    """Turn a save mode into one that the interface knows; tell whether there is anything to write.

    Raises:
        ValueError: The table exists and must not, or the mode is none.
    """
    if mode in {"append", "overwrite"}:
        writer.mode(mode)
        return True
    if mode not in {"error", "errorifexists", "default", "ignore"}:
        raise ValueError(f"Unknown save mode: {mode}")
    options = Options({name: str(value) for name, value in _given(writer).items()})
    if _exists(options):
        if mode == "ignore":
            return False
        raise ValueError(
            f"SaveMode is set to ErrorIfExists and Table {options.table} already exists. Did you want to add data to"
            " the table by setting the SaveMode to Append?"
        )
    writer.option(MUST_BE_EMPTY, "true").mode("append")
    return True


def _exists(options: Any) -> bool:
    from google.api_core.exceptions import NotFound

    try:
        pydag_bigquery_clients.bigquery(options.parent_project).get_table(str(options.table))
    except NotFound:
        return False
    return True
