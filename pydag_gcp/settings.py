"""Settings: environment variables over ``pydag.toml`` over defaults.

::

    # pydag.toml, beside the pipelines
    target = "local"              # PYDAG_TARGET
    processors = 8                # PYDAG_PROCESSORS
    store = "sqlite:///..."       # PYDAG_STORE; default: .pydag/pydag.db; or postgresql://user@host/database
    cache = "redis://host"        # PYDAG_CACHE; default: only the metadata database
    lease = 30                    # PYDAG_LEASE; seconds after which a silent driver is taken for dead
    log_format = "text"           # PYDAG_LOG_FORMAT; json: lines for Cloud Logging

    [prices]                      # what estimates are made with
    bigquery_tib = 6.25           # US dollars for a TiB that a query processes

    [targets.my-project]          # a GCP project
    location = "EU"
    credentials = "key.json"      # default: application default credentials
    create_datasets = true

    [spark]                       # what Spark scripts of the 2022 pyDag find in --params
    temporaryGcsBucket = "my-temporary-bucket"
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pydag_gcp.errors import SettingsError, did_you_mean, place
from pydag_gcp.gcp import Endpoints, Target

LOCAL = "local"
#: The project that the local cloud pretends to be.
LOCAL_PROJECT = "pydag-local"

# https://cloud.google.com/resource-manager/docs/creating-managing-projects (domain-scoped ids have a colon)
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{2,61}[a-z0-9]")
#: The settings that have a variable, too.
_SIMPLE = ("target", "store", "cache", "lease", "processors", "log_format")
_EMULATORS = ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "DATAPROC_EMULATOR_HOST")
#: It may be missing: Secret Manager is then looked for beside Dataproc.
_OPTIONAL = "SECRETMANAGER_EMULATOR_HOST"


def _flat(table: Any) -> Any:
    """Read ``spark.jars = "..."`` as one name, which TOML takes for a table in a table; names are in lower case."""
    if not isinstance(table, dict):
        return table
    flat: dict[str, Any] = {}
    for name, value in table.items():
        inner = _flat(value) if isinstance(value, dict) else {"": value}
        flat.update({".".join(filter(None, (name.lower(), rest))): found for rest, found in inner.items()})
    return flat


class TargetSettings(BaseModel):
    """One table ``[targets.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str | None = Field(default=None, description="GCP project id; default: the target's name")
    location: str = Field(default="US", description="BigQuery location of jobs and created datasets")
    credentials: str | None = Field(default=None, description="Path of a service account's key file")
    create_datasets: bool = Field(default=False, description="Create a missing dataset that a task writes to")


class Prices(BaseModel):
    """The table ``[prices]``, in US dollars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # On demand, in the US: https://cloud.google.com/bigquery/pricing#on_demand_pricing
    bigquery_tib: float = Field(default=6.25, ge=0, allow_inf_nan=False, description="For a TiB that a query processes")


def _redis(url: str) -> str:
    """https://redis-py.readthedocs.io/en/stable/connections.html#redis.Redis.from_url."""
    if url == "none":
        return ""
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("a shared cache is a Redis server: write redis://host:6379, or none")
    return url


class Settings(BaseModel):
    """What holds for every run of a project.

    Raises:
        SettingsError: By :func:`load`: a value is wrong; names the file or variable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project_folder: Path = Field(description="Folder of the nearest pydag.toml or pyproject.toml")
    home: Path = Field(description="The .pydag folder: database, logs, local cloud")
    target_name: str = Field(default=LOCAL, alias="target", description="Where runs go unless told otherwise")
    store: str = Field(default="", description="SQLAlchemy URL of the metadata database")
    cache: Annotated[str, AfterValidator(_redis)] = Field(
        default="", description="URL of the Redis server that shares what tasks came to; default: none"
    )
    lease: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="Seconds after which the driver of a run that does not renew its lease is taken for dead",
    )
    prices: Prices = Field(default_factory=Prices)
    processors: int | None = Field(default=None, ge=1, le=4096, description="Processors of this machine")
    log_format: Literal["text", "json"] = Field(default="text", description="What runs log: json for Cloud Logging")
    targets: dict[str, TargetSettings] = Field(default_factory=dict)
    spark: Annotated[dict[str, str], BeforeValidator(_flat)] = Field(
        default_factory=dict, description="What Spark scripts of the 2022 pyDag find in --params, names in lower case"
    )

    @property
    def store_url(self) -> str:
        """URL of the metadata database."""
        return self.store or f"sqlite:///{self.home / 'pydag.db'}"

    def target(
        self, name: str | None = None, *, environ: Mapping[str, str] = os.environ, written_for: str | None = None
    ) -> Target:
        """Resolve a target's name; talks to nobody.

        Args:
            name: ``local``, a table of ``[targets]`` or a GCP project id; default: the setting.
            environ: Where emulator variables are looked up.
            written_for: The only project that the pipeline can run in; the local cloud pretends to be it.

        Raises:
            SettingsError: The name is none of these; emulator variables contradict the target, or not all of them are
                set; or the target is not the project that the pipeline is written for.
        """
        name = name or self.target_name
        if name != LOCAL and name not in self.targets and not _PROJECT.fullmatch(name):
            known = did_you_mean(name, [LOCAL, *self.targets])
            raise SettingsError(f"target {name!r} is neither 'local' nor a GCP project id", hint=known)
        given = self.targets.get(name) or TargetSettings(create_datasets=name == LOCAL)
        emulators = _emulators(name, environ)
        own = given.project or (None if name == LOCAL else name)
        if own and written_for and own != written_for:
            what = f"target {name!r} is project {own!r}, but the pipeline is written for project {written_for!r}"
            raise SettingsError(what, hint=f"use --target {written_for} or --target local")
        return Target(
            name=name,
            project=own or written_for or LOCAL_PROJECT,
            location=given.location,
            credentials=str(self.project_folder / given.credentials) if given.credentials else None,
            create_datasets=given.create_datasets,
            endpoints=_endpoints(emulators) if emulators else None,
            local_home=self.home / "local" if name == LOCAL else None,
        )


def _emulators(target: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The emulator variables, if they and the target do not contradict each other."""
    emulators = {key: environ[key] for key in (*_EMULATORS, _OPTIONAL) if environ.get(key)}
    if target != LOCAL and emulators:
        raise SettingsError(
            f"target {target!r} is a real project, but {', '.join(sorted(emulators))} is set",
            hint="unset it, or use --target local",
        )
    if emulators and (missing := sorted(set(_EMULATORS) - set(emulators))):
        raise SettingsError(
            f"{', '.join(sorted(emulators))} is set, but not {', '.join(missing)}",
            hint='set all three (`eval "$(pydag local env)"`) or none',
        )
    return emulators


def _endpoints(emulators: Mapping[str, str]) -> Endpoints:
    def url(address: str) -> str:
        return address if "://" in address else f"http://{address}"

    return Endpoints(
        bigquery=url(emulators["BIGQUERY_EMULATOR_HOST"]),
        storage=url(emulators["STORAGE_EMULATOR_HOST"]),
        dataproc=emulators["DATAPROC_EMULATOR_HOST"].removeprefix("http://"),
        secretmanager=emulators.get(_OPTIONAL, "").removeprefix("http://") or None,
    )


def load(near: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings that hold for a pipeline file, or for the working directory.

    Raises:
        SettingsError: ``pydag.toml`` or a variable is wrong.
    """
    start = (near or Path.cwd()).resolve()
    folder = _project_folder(start if start.is_dir() else start.parent)
    home = Path(environ["PYDAG_HOME"]).expanduser().resolve() if environ.get("PYDAG_HOME") else folder / ".pydag"
    values = {**_read(folder / "pydag.toml"), "project_folder": folder, "home": home}
    sources = dict.fromkeys(values, str(folder / "pydag.toml"))
    for key in _SIMPLE:
        variable = f"PYDAG_{key.upper()}"
        if environ.get(variable):
            values[key] = environ[variable]
            sources[key] = variable
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _settings_error(error, sources, folder / "pydag.toml") from None


#: Table -> the names that stand in it.
_INSIDE = {"targets": tuple(TargetSettings.model_fields), "prices": tuple(Prices.model_fields)}


def _settings_error(error: ValidationError, sources: Mapping[str, str], default: Path) -> SettingsError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    where = place(file=sources.get(str(first["loc"][0]), str(default)), field=name)
    if first["type"] == "extra_forbidden":
        known = _INSIDE.get(str(first["loc"][0]), ()) if len(first["loc"]) > 1 else [*_SIMPLE, *_INSIDE, "spark"]
        return SettingsError("no such setting", where=where, hint=did_you_mean(str(first["loc"][-1]), known))
    message = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"{message[:1].lower()}{message[1:]}, got {first['input']!r}", where=where)


def _project_folder(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / "pydag.toml").is_file() or (folder / "pyproject.toml").is_file():
            return folder
    return start


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    import tomllib

    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"cannot be read: {error}", where=str(file)) from error
    for key in ("project_folder", "home"):
        if key in values:
            raise SettingsError("no such setting", where=place(file=file, field=key))
    return values
