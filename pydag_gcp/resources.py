"""What tasks read, write and use: small typed names for tables, objects and clusters.

A resource is a name, not a handle: constructing one talks to nobody. Its one method that does,
:meth:`Resource.version`, answers the cheapest thing the cloud offers that changes when the data does.
"""

from __future__ import annotations

import enum
import hashlib
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pydag_gcp.errors import DefinitionError
from pydag_gcp.model import complaint, named, names
from pydag_gcp.patterns import meet

if TYPE_CHECKING:
    from pydag_gcp.gcp import Clients
    from pydag_gcp.views import Seen


class Unversioned(enum.Enum):
    """The two answers of :meth:`Resource.version` that are no version."""

    MISSING = "missing"
    UNKNOWN = "unknown"


#: The resource does not exist.
MISSING: Final = Unversioned.MISSING
#: It may have changed, nobody can tell; never equal to anything.
UNKNOWN: Final = Unversioned.UNKNOWN

Version = str | Unversioned

# https://cloud.google.com/resource-manager/docs/creating-managing-projects (domain-scoped ids have a colon)
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{2,61}[a-z0-9]")
# https://cloud.google.com/bigquery/docs/datasets#dataset-naming
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
# https://cloud.google.com/bigquery/docs/tables#table_naming, with a partition decorator or a wildcard at the end
_TABLE = re.compile(r"[^\s`.$*][^`.$*]{0,1022}(?:\$[A-Za-z0-9_]+|\*)?|\*")
# Those of them in ASCII, as nearly all names are
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_$* -]*")
# https://cloud.google.com/bigquery/docs/partitioned-tables#partition_decorators: a year holds its months, days, hours
_TIME = re.compile(r"\d{4}(?:\d\d){0,3}")
# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#cluster
_CLUSTER = re.compile(r"[a-z](?:[a-z0-9-]{0,49}[a-z0-9])?")
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")


#: Whether what is constructed was rendered: a value that looks like a template is then none, and is checked as it is.
_rendered: ContextVar[bool] = ContextVar("rendered", default=False)


@contextmanager
def as_rendered() -> Iterator[None]:
    """Construct copies in which nothing is left to render."""
    token = _rendered.set(True)
    try:
        yield
    finally:
        _rendered.reset(token)


def is_template(text: str) -> bool:
    """Tell whether a string still has to be rendered."""
    return not _rendered.get() and ("{{" in text or "{%" in text)


class Resource(BaseModel):
    """A named thing that tasks read, write or use.

    Frozen, hashable, equal by value. Every resource is constructed from one string, its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, name: str | None = None, /, **fields: Any) -> None:
        key = next(iter(type(self).model_fields))
        if name is not None:
            fields = {key: name, **fields}
        try:
            super().__init__(**fields)
        except ValidationError as error:
            bare = complaint(error, given=fields, known=names(type(self)))
            raise named(bare, type(self)) from bare

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {next(iter(cls.model_fields)): value} if isinstance(value, str) else value

    @abstractmethod
    def overlaps(self, other: Resource) -> bool:
        """Tell whether touching one may touch the other. Where that is not known, it may."""

    def version(self, clients: Clients) -> Version:
        """Ask the cloud for what changes when the data does; MISSING and UNKNOWN are no versions.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: The service refused to say.
        """
        from pydag_gcp.views import settled

        whole = self.whole(clients.target.project)
        return settled({whole}, lambda wave: {resource: resource.look(clients) for resource in wave})[whole]

    @abstractmethod
    def look(self, clients: Clients) -> Seen:
        """Ask the cloud for the version of a :meth:`whole` resource, or for the view that it is. Makes each call once.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: The service refused to say.
        """

    def whole(self, project: str) -> Resource:
        """The resource whose version stands for this one's.

        Args:
            project: Of names that have none.
        """
        return self


def _may_stand_in_a_table(char: str) -> bool:
    """Letters, marks, digits, connectors, dashes and spaces: https://cloud.google.com/bigquery/docs/tables#table_naming."""
    return char in "$*" or unicodedata.category(char)[0] in "LMN" or unicodedata.category(char) in {"Pc", "Pd", "Zs"}


def _meets(mine: str | None, other: str | None) -> bool:
    """Tell whether two name parts may be the same; an unstated one may be anything."""
    return mine is None or other is None or mine == other


class Table(Resource):
    """A BigQuery table, one partition of it (``table$20220131``) or several tables (``events_*``).

    ``Table("dataset.table")``, ``Table("project.dataset.table")`` or, with a default dataset, ``Table("table")``.
    """

    if TYPE_CHECKING:  # pydantic's own signature knows no positional name

        def __init__(self, table: str, *, shared: bool = False) -> None: ...

    table: str = Field(description="Name: [[project.]dataset.]table, with $partition or * at the end where wanted")
    shared: bool = Field(default=False, description="Several tasks may append at once (an audit table): no race")

    @field_validator("table")
    @classmethod
    def _well_formed(cls, value: str) -> str:
        value = value.strip("`")
        if is_template(value):
            return value
        parts = value.rsplit(".", 2)
        patterns = (_PROJECT, _DATASET, _TABLE)[-len(parts) :]
        known = _PLAIN_NAME.fullmatch(parts[-1]) or all(map(_may_stand_in_a_table, parts[-1]))
        if not known or not all(pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=True)):
            raise ValueError(f"expected a table such as 'dataset.table' or 'project.dataset.table', got {value!r}")
        return value

    def _part(self, index: int) -> str | None:
        parts = self.table.rsplit(".", 2)
        return parts[index] if len(parts) >= -index else None

    @property
    def project(self) -> str | None:
        """The project, or None if it is the default one."""
        return self._part(-3)

    @property
    def dataset(self) -> str | None:
        """The dataset, or None if it is the default one."""
        return self._part(-2)

    @property
    def name(self) -> str:
        """The table's own name, without project, dataset and partition."""
        return self.table.rsplit(".", 1)[-1].partition("$")[0]

    @property
    def partition(self) -> str | None:
        """The partition id behind ``$``, or None for the whole table."""
        return self.table.partition("$")[2] or None

    def qualified(self, project: str, dataset: str | None = None) -> Table:
        """Fill in the defaults.

        Raises:
            DefinitionError: Neither the name nor the defaults have a dataset.
        """
        if (self.dataset or dataset) is None:
            raise DefinitionError(f"table {self.table!r} has no dataset", hint="write it as 'dataset.table'")
        last = self.table.rsplit(".", 1)[-1]
        full = f"{self.project or project}.{self.dataset or dataset}.{last}"
        return self if full == self.table else Table(full, shared=self.shared)

    def overlaps(self, other: Resource) -> bool:
        """See :meth:`Resource.overlaps`; a partition overlaps its table and the partitions that it contains."""
        if not isinstance(other, Table):
            return False
        if not (_meets(self.project, other.project) and _meets(self.dataset, other.dataset)):
            return False
        if "*" in self.name or "*" in other.name:
            mine, its = self.name.partition("*")[0], other.name.partition("*")[0]
            if "*" in self.name and "*" in other.name:
                return mine.startswith(its) or its.startswith(mine)
            return its.startswith(mine) if "*" in self.name else mine.startswith(its)
        if self.name != other.name:
            return False
        if self.partition is None or other.partition is None or self.partition == other.partition:
            return True
        shorter, longer = sorted((self.partition, other.partition), key=len)
        return longer.startswith(shorter) and all(map(_TIME.fullmatch, (shorter, longer)))

    def whole(self, project: str) -> Table:
        """The whole table, in full.

        tables.get documents no answer about a single partition, and a query about them
        (https://cloud.google.com/bigquery/docs/managing-partitioned-tables#get_partition_metadata) is billed.
        """
        return Table(self.qualified(project).table.partition("$")[0])

    def look(self, clients: Clients) -> Seen:
        """See :func:`pydag_gcp.views.look`."""
        from pydag_gcp.views import look

        return look(self, clients.bigquery())

    def __str__(self) -> str:
        return self.table


class GCSObject(Resource):
    """One Cloud Storage object (``gs://bucket/name``), a prefix (ends in ``/``) or a glob (has ``*``, ``?``, ``[``)."""

    if TYPE_CHECKING:  # pydantic's own signature knows no positional name

        def __init__(self, uri: str) -> None: ...

    uri: str = Field(description="gs://bucket/name, gs://bucket/prefix/ or gs://bucket/glob*")

    @field_validator("uri")
    @classmethod
    def _well_formed(cls, value: str) -> str:
        if is_template(value):
            return value
        scheme, _, rest = value.partition("://")
        bucket, _, name = rest.partition("/")
        if scheme != "gs" or not _BUCKET.fullmatch(bucket) or len(name.encode()) > 1024 or re.search(r"[\r\n]", name):
            raise ValueError(f"expected an object such as 'gs://bucket/name', got {value!r}")
        return value

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.uri.removeprefix("gs://").partition("/")[0]

    @property
    def name(self) -> str:
        """The name inside the bucket; empty for the whole bucket."""
        return self.uri.removeprefix("gs://").partition("/")[2]

    @property
    def is_glob(self) -> bool:
        """Whether the name is a pattern."""
        return any(mark in self.name for mark in "*?[")

    @property
    def is_prefix(self) -> bool:
        """Whether the name stands for everything below it."""
        return not self.name or self.name.endswith("/")

    @property
    def fixed(self) -> str:
        """The part of the name before the first wildcard: all objects meant begin with it."""
        return re.split(r"[*?\[]", self.name, maxsplit=1)[0]

    @property
    def many(self) -> bool:
        """Whether it may stand for several objects."""
        return self.is_glob or self.is_prefix

    @property
    def pattern(self) -> str:
        """The name as a pattern that all objects meant fit."""
        return f"{self.name}*" if self.is_prefix else self.name

    def overlaps(self, other: Resource) -> bool:
        """See :meth:`Resource.overlaps`; two patterns overlap if a name may fit both."""
        if not isinstance(other, GCSObject) or self.bucket != other.bucket:
            return False
        if self.many or other.many:
            return meet(self.pattern, other.pattern)
        return self.name == other.name

    def look(self, clients: Clients) -> Version:
        """The object's generation; for a prefix or glob a hash of sorted (name, generation).

        A * stands for / as well: https://cloud.google.com/bigquery/docs/batch-loading-data#load-wildcards
        """
        from google.api_core.exceptions import NotFound

        from pydag_gcp.gcp import ONCE

        bucket = clients.storage().bucket(self.bucket)
        try:
            if not self.many:
                blob = bucket.get_blob(self.name, **ONCE)
                return MISSING if blob is None else str(blob.generation)
            blobs = bucket.list_blobs(prefix=self.fixed, fields="items(name,generation),nextPageToken", **ONCE)
            meant = (blob for blob in blobs if fnmatchcase(blob.name, self.pattern))
            found = sorted(f"{blob.name}\0{blob.generation}" for blob in meant)
        except NotFound:
            return MISSING
        return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else MISSING

    def __str__(self) -> str:
        return self.uri


class Cluster(Resource):
    """A Dataproc cluster: its name and region."""

    if TYPE_CHECKING:  # pydantic's own signature knows no positional name

        def __init__(self, name: str, *, region: str = "us-central1") -> None: ...

    name: str = Field(description="Cluster name: lower-case letters, digits, hyphens; at most 51")
    region: str = Field(default="us-central1", description="Region such as us-central1")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not is_template(value) and not _CLUSTER.fullmatch(value):
            raise ValueError(f"expected lower-case letters, digits and hyphens (at most 51), got {value!r}")
        return value

    @field_validator("region")
    @classmethod
    def _region(cls, value: str) -> str:
        if not is_template(value) and not _REGION.fullmatch(value):
            raise ValueError(f"expected a region such as 'us-central1', got {value!r}")
        return value

    def overlaps(self, other: Resource) -> bool:
        """See :meth:`Resource.overlaps`."""
        return isinstance(other, Cluster) and (self.name, self.region) == (other.name, other.region)

    def look(self, clients: Clients) -> Version:
        """The cluster's uuid, which a new cluster of the same name does not share."""
        from google.api_core.exceptions import NotFound

        from pydag_gcp.gcp import ONCE

        request = {"project_id": clients.target.project, "region": self.region, "cluster_name": self.name}
        try:
            return str(clients.clusters(self.region).get_cluster(request=request, **ONCE).cluster_uuid)
        except NotFound:
            return MISSING

    def __str__(self) -> str:
        return f"{self.region}/{self.name}"


def resource_key(resource: Resource) -> str:
    """Name a resource as records do: ``table project.dataset.table``, ``object gs://bucket/name``."""
    kind = {Table: "table", GCSObject: "object", Cluster: "cluster"}.get(type(resource), type(resource).__name__)
    return f"{kind} {resource}"


def normalised(resources: frozenset[Resource], project: str, dataset: str | None = None) -> frozenset[Resource]:
    """Fill the defaults into every table of a set."""
    return frozenset(r.qualified(project, dataset) if isinstance(r, Table) else r for r in resources)


__all__ = [
    "MISSING",
    "UNKNOWN",
    "Cluster",
    "GCSObject",
    "Resource",
    "Table",
    "Unversioned",
    "Version",
    "normalised",
    "resource_key",
]
