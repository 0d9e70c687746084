"""The options of ``format("bigquery")``, as the Spark BigQuery connector names them.

Contract: https://github.com/GoogleCloudDataproc/spark-bigquery-connector#properties. Options that only tune the
connector are ignored, as are names it does not know; what would change a result and is not done here is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Marks options that come from the session's settings, which an option at the reader or writer beats.
DEFAULT = "pydag.default."

#: Tells the writer that the table must not have rows yet.
MUST_BE_EMPTY = "pydag.mustBeEmpty"

_REFUSED = (
    "bigNumericDefaultPrecision",
    "bigNumericDefaultScale",
    "bigQueryTableLabel",
    "destinationTableKmsKeyName",
    "persistentGcsPath",
    "snapshotTimeMillis",
)

#: What the direct write method does not do on Google's side either.
_INDIRECT_ONLY = (
    "datePartition",
    "partitionField",
    "partitionType",
    "partitionExpirationMs",
    "partitionRangeStart",
    "partitionRangeEnd",
    "partitionRangeInterval",
    "temporaryGcsBucket",
    "persistentGcsBucket",
)

_TABLE = re.compile(r"(?:(?P<project>[^.:]+(?::[^.:]+)?)[.:])?(?:(?P<dataset>[^.:]+)\.)?(?P<table>[^.:]+)")
_QUERY = re.compile(r"\s*(SELECT|WITH)\s", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class TableName:
    """Where a table is."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"


class Options:
    """The options of one read or write.

    Args:
        given: What the reader or writer was told; names in any case.

    Raises:
        ValueError: An option that the local cloud does not do, by name.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name.lower(): value for name, value in given.items()}
        for name in _REFUSED:
            if self._any(name):
                raise ValueError(f"bigquery option '{name}' is not implemented by the local cloud")

    def _any(self, name: str) -> bool:
        wanted = name.lower()
        names = {given.removeprefix(DEFAULT) for given in self._given}
        return any(given == wanted or given.startswith(f"{wanted}.") for given in names)

    def get(self, name: str) -> str | None:
        """Return an option, or the session's default for it, or None."""
        return self._given.get(name.lower()) or self._given.get(f"{DEFAULT}{name}".lower())

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a yes-or-no option.

        Raises:
            ValueError: It is neither true nor false.
        """
        value = (self.get(name) or str(default)).lower()
        if value not in {"true", "false"}:
            raise ValueError(f"bigquery option '{name}' is '{value}': expected true or false")
        return value == "true"

    def choice(self, name: str, *choices: str) -> str:
        """Return an option that is one of some words, the first of them if it is not given.

        Raises:
            ValueError: It is none of them.
        """
        value = self.get(name) or choices[0]
        if value.lower() not in [choice.lower() for choice in choices]:
            raise ValueError(f"bigquery option '{name}' is '{value}': expected one of {', '.join(choices)}")
        return value.upper()

    @property
    def query(self) -> str | None:
        """The SQL to read from instead of a table."""
        path = self.get("table") or self.get("path") or ""
        return self.get("query") or (path if _QUERY.match(path) else None)

    @property
    def table(self) -> TableName:
        """The table, as ``[[project:]dataset.]table``; options ``dataset`` and ``project`` fill in what is missing.

        Raises:
            ValueError: There is none, or it has no dataset.
        """
        text = (self.get("table") or self.get("path") or "").replace("`", "")
        match = _TABLE.fullmatch(text)
        if match is None:
            raise ValueError(f"bigquery table '{text}': expected [[project:]dataset.]table")
        dataset = match["dataset"] or self.get("dataset")
        project = match["project"] if match["dataset"] else None
        if match["project"] and not match["dataset"]:
            dataset = match["project"]
        if not dataset:
            raise ValueError(f"bigquery table '{text}' has no dataset: write dataset.table or set option 'dataset'")
        return TableName(
            project=project or self.get("project") or self.parent_project, dataset=dataset, table=match["table"]
        )

    @property
    def parent_project(self) -> str:
        """The project in which BigQuery jobs and read sessions are made."""
        return self.get("parentProject") or os.environ["GOOGLE_CLOUD_PROJECT"]

    @property
    def labels(self) -> dict[str, str]:
        """Labels for BigQuery jobs (``bigQueryJobLabel.KEY``)."""
        labels = {}
        for name, value in self._given.items():
            head, _, key = name.removeprefix(DEFAULT).partition(".")
            if head == "bigqueryjoblabel" and key:
                labels[key] = value
        return labels

    def check_direct(self) -> bool:
        """Tell whether the write method is ``direct``.

        Raises:
            ValueError: It is, and an option is given that it does not go with.
        """
        if self.choice("writeMethod", "indirect", "direct") != "DIRECT":
            return False
        for name in _INDIRECT_ONLY:
            if name.lower() in self._given:
                raise ValueError(f"bigquery option '{name}' is not supported by the DIRECT write method")
        return True
