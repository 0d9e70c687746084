"""The shared result cache: records that machines pass on to each other through Redis, over those of the store.

What is in Redis can only save work. It may be gone at any time; then a run goes on with what its own metadata database
knows, and says so once.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from pydag_gcp.errors import SettingsError
from pydag_gcp.record import Record, Records
from pydag_gcp.settings import Settings
from pydag_gcp.store import Store

if TYPE_CHECKING:
    from redis import Redis

#: Seconds that Redis may take to accept a connection, and to answer.
_TIMEOUT = 1.0
#: Seconds for which Redis is left alone once it has failed.
_PAUSE = 60.0
#: What does not expire sooner is kept so long: nobody else tidies up there.
_LONGEST = timedelta(days=90)
#: Raised when the documents of records change; older ones are then not found.
_VERSION = "1"
#: Stands where the fingerprint of a task's newest record would.
_NEWEST = "newest"
#: So many keys are looked through at a time.
_AT_ONCE = 500

_LIKE = "write PYDAG_CACHE like redis://host:6379/0, with rediss:// for TLS"
_T = TypeVar("_T")


def records(store: Store, settings: Settings, warn: Callable[[str], None]) -> Records:
    """The records that a run goes by: those of the store, with Redis over them if the settings name one.

    Args:
        store: The metadata database.
        settings: What holds for the run.
        warn: Called once if Redis cannot be used.

    Raises:
        SettingsError: The URL is wrong, or the client of Redis is not installed.
    """
    if not settings.cache:
        return store.records
    return SharedRecords(store, settings.cache, warn, cloud=lambda target: _cloud(settings, target))


class SharedRecords:
    """Records in Redis over those of a store; see :class:`pydag_gcp.record.Records`.

    Args:
        store: Has whatever this machine put.
        url: Of Redis: ``redis://``, ``rediss://`` or ``unix://``.
        warn: Called once if Redis cannot be used.
        cloud: Says which cloud a target is: what one machine calls ``local`` is not what another does.

    Raises:
        SettingsError: The URL is wrong, or the client of Redis is not installed.
    """

    def __init__(
        self, store: Store, url: str, warn: Callable[[str], None], *, cloud: Callable[[str], str] = str
    ) -> None:
        self._store = store
        self._redis = _client(url)
        self._host = urlsplit(url).hostname or urlsplit(url).path
        self._warn = warn
        self._cloud = cloud
        self._told = False
        self._again_at = 0.0

    def matching(self, dag_id: str, target: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Record]:
        """See :class:`pydag_gcp.record.Records`."""
        own = self._store.records.matching(dag_id, target, wanted)
        keys = {task_id: self._key(dag_id, target, task_id, *which) for task_id, which in wanted.items()}
        return _newer(own, self._shared(dag_id, target, keys))

    def newest(
        self, dag_id: str, target: str, task_ids: Collection[str], *, date: str | None = None
    ) -> dict[str, Record]:
        """See :class:`pydag_gcp.record.Records`."""
        own = self._store.records.newest(dag_id, target, task_ids, date=date)
        which = (_NEWEST,) if date is None else (_NEWEST, date)
        keys = {task_id: self._key(dag_id, target, task_id, *which) for task_id in task_ids}
        return _newer(own, self._shared(dag_id, target, keys))

    def put(self, records: Iterable[Record]) -> None:
        """See :class:`pydag_gcp.record.Records`; Redis gets them once the store has them for sure."""
        put = list(records)
        self._store.records.put(put)
        self._store.afterwards(lambda: self._share(put))

    def all(self, *, dag_id: str | None = None, target: str | None = None) -> list[Record]:
        """See :class:`pydag_gcp.record.Records`; only those of the store."""
        return self._store.records.all(dag_id=dag_id, target=target)

    def clear(
        self,
        *,
        dag_id: str | None = None,
        target: str | None = None,
        task_id: str | None = None,
        appended: bool = False,
    ) -> int:
        """See :class:`pydag_gcp.record.Records`; Redis forgets those of the DAGs and targets that the store knows."""
        known = {(record.dag_id, record.target) for record in self.all(dag_id=dag_id, target=target)}
        if dag_id is not None and target is not None:
            known.add((dag_id, target))
        cleared = self._store.records.clear(dag_id=dag_id, target=target, task_id=task_id, appended=appended)
        for dag, on in known:
            pattern = self._key(dag, on, *([] if task_id is None else [task_id])) + ":*"
            self._ask(partial(_forget, pattern=pattern, appended=appended), None)
        return cleared

    def _shared(self, dag_id: str, target: str, keys: Mapping[str, str]) -> dict[str, Record]:
        """What Redis has of these tasks."""
        nothing: list[bytes | str | None] = [None] * len(keys)
        documents = self._ask(lambda redis: redis.mget(list(keys.values())), nothing) if keys else nothing
        found = {}
        for task_id, document in zip(keys, documents, strict=True):
            record = None if document is None else _read(document)
            if record is not None and (record.dag_id, record.task_id) == (dag_id, task_id):
                found[task_id] = replace(record, target=target)
            elif document is not None:
                self._tell("holds something else than records of pydag-gcp")
        return found

    def _share(self, records: Iterable[Record]) -> None:
        now = datetime.now(UTC)
        documents: dict[str, tuple[str, timedelta]] = {}
        for record in sorted(records, key=lambda record: record.at):  # of several of a task, the last one is its newest
            expires = None if record.accumulating else record.expires
            left = min(expires - now, _LONGEST) if expires else _LONGEST
            if left >= timedelta(milliseconds=1):  # the least that Redis takes
                document = json.dumps(record.to_json())
                for which in _places(record):
                    key = self._key(record.dag_id, record.target, record.task_id, *which)
                    documents[key] = (document, left)
        if documents:
            self._ask(lambda redis: _keep(redis, documents), None)

    def _key(self, dag_id: str, target: str, *rest: str) -> str:
        # Quoted, a part holds neither a colon nor anything that patterns give a meaning to.
        parts = (quote(part, safe="") for part in (self._cloud(target), dag_id, *rest))
        return ":".join(("pydag", _VERSION, *parts))

    def _ask(self, question: Callable[[Redis], _T], otherwise: _T) -> _T:
        """What Redis answers, or ``otherwise`` while it does not."""
        from redis.exceptions import RedisError

        if time.monotonic() < self._again_at:
            return otherwise
        try:
            return question(self._redis)
        except (RedisError, OSError) as error:
            self._again_at = time.monotonic() + _PAUSE
            self._tell(f"cannot be used: {' '.join(str(error).split()).rstrip('.')}")
            return otherwise

    def _tell(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._warn(f"the shared cache, Redis on {self._host}, {what}; going on with the metadata database alone")


def _client(url: str) -> Redis:
    """https://redis.readthedocs.io/en/stable/connections.html#redis.Redis.from_url."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        hint = "install it: pip install 'pydag-gcp[redis]'"
        raise SettingsError("PYDAG_CACHE: the client of Redis is missing", hint=hint) from error
    try:
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss") and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
            raise SettingsError("PYDAG_CACHE: a database of Redis is a number", hint=_LIKE)
        # One more attempt, at once: a connection may have gone stale.
        client = Redis.from_url(
            url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 1)
        )
        client.connection_pool.make_connection()  # connects to nothing, but knows the options in a URL
    except (ValueError, TypeError) as error:  # their texts quote parts of the URL
        if isinstance(error, SettingsError):
            raise
        raise SettingsError("PYDAG_CACHE is not the URL of a Redis server", hint=_LIKE) from error
    return client


def _cloud(settings: Settings, target: str) -> str:
    """What a target is wherever it is named: a project, or one machine's local cloud."""
    found = settings.target(target)
    if found.endpoints is not None:
        return found.endpoints.bigquery
    return f"{platform.node()}{found.local_home}" if found.local_home else found.project


def _places(record: Record) -> Iterator[tuple[str, ...]]:
    """Under which keys of its task a record is found."""
    yield record.fingerprint, record.date
    yield (_NEWEST,)
    if record.date:
        yield _NEWEST, record.date


def _newer(some: Mapping[str, Record], others: Mapping[str, Record]) -> dict[str, Record]:
    known = dict(some)
    for task_id, record in others.items():
        if task_id not in known or record.at > known[task_id].at:
            known[task_id] = record
    return known


def _keep(redis: Redis, documents: Mapping[str, tuple[str, timedelta]]) -> None:
    with redis.pipeline(transaction=False) as pipeline:
        for key, (document, left) in documents.items():
            pipeline.set(key, document, px=left)
        pipeline.execute()


def _read(document: bytes | str) -> Record | None:
    try:
        return Record.from_json(json.loads(document))
    except ValueError:
        return None


def _forget(redis: Redis, *, pattern: str, appended: bool) -> None:
    keys = list(redis.scan_iter(match=pattern, count=_AT_ONCE))
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        found = zip(some, redis.mget(some), strict=True)
        records = {key: None if document is None else _read(document) for key, document in found}
        doomed = [key for key, record in records.items() if appended or record is None or not record.accumulating]
        if doomed:
            redis.unlink(*doomed)
