"""Records that machines share through Redis, which may fail in every way."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pydag_gcp import cache, settings
from pydag_gcp.cache import SharedRecords
from pydag_gcp.errors import SettingsError
from pydag_gcp.record import Success
from pydag_gcp.store import Store
from tests.servers import PASSWORD, RedisServer
from tests.test_record import RECORD

NOW = datetime.now(UTC)
FRESH = replace(RECORD, at=NOW, expires=NOW + timedelta(hours=1))
WANTED = {"a": ("f1", "")}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'pydag.db'}") as store:
        yield store


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """The store of another machine."""
    with Store(f"sqlite:///{tmp_path / 'elsewhere.db'}") as store:
        yield store


@pytest.fixture
def warnings() -> list[str]:
    return []


# machines ------------------------------------------------------------------------------------------------------------


def test_a_machine_finds_what_another_put(store: Store, elsewhere: Store, redis_url: str) -> None:
    SharedRecords(elsewhere, redis_url, pytest.fail).put([FRESH])
    elsewhere.settled()
    records = SharedRecords(store, redis_url, pytest.fail)
    assert records.matching("dag", "local", WANTED) == records.newest("dag", "local", ["a"]) == {"a": FRESH}
    assert store.records.all() == []


def test_of_the_store_and_redis_the_newer_counts(store: Store, elsewhere: Store, redis_url: str) -> None:
    ours, theirs = (SharedRecords(found, redis_url, pytest.fail) for found in (store, elsewhere))
    newer = replace(FRESH, at=NOW + timedelta(seconds=1), success=Success(run_id="run9", try_number=1))
    store.records.put([newer])
    theirs.put([FRESH])
    elsewhere.settled()
    assert ours.matching("dag", "local", WANTED) == {"a": newer}
    newest = replace(newer, at=NOW + timedelta(seconds=2))
    theirs.put([newest])
    elsewhere.settled()
    assert ours.matching("dag", "local", WANTED) == {"a": newest}


def test_a_machine_finds_the_newest_for_a_date_that_another_put(store: Store, elsewhere: Store, redis_url: str) -> None:
    # Given additions for two days, and records that were changed later, all at once
    monday, tuesday = (replace(FRESH, date=f"2026-01-0{day}", accumulating=True) for day in (5, 6))
    changed = replace(monday, fingerprint="f2", at=NOW + timedelta(seconds=1))
    theirs = SharedRecords(elsewhere, redis_url, pytest.fail)
    theirs.put([tuesday, changed, monday])
    elsewhere.settled()
    # Then
    records = SharedRecords(store, redis_url, pytest.fail)
    assert records.newest("dag", "local", ["a"], date="2026-01-05") == {"a": changed}
    assert records.newest("dag", "local", ["a"], date="2026-01-06") == {"a": tuesday}
    assert records.newest("dag", "local", ["a"], date="2026-01-07") == {}
    # And what Redis has forgotten is still known where it was put
    assert theirs.clear(dag_id="dag", target="local") == 0
    with theirs._redis as redis:
        redis.flushdb()
    assert theirs.newest("dag", "local", ["a"], date="2026-01-05") == {"a": changed}
    assert records.newest("dag", "local", ["a"], date="2026-01-05") == {}


def test_the_local_clouds_of_two_machines_are_two(tmp_path: Path, elsewhere: Store, redis_url: str) -> None:
    def shared(folder: str, store: Store, **environ: str) -> SharedRecords:
        (tmp_path / folder).mkdir(exist_ok=True)
        found = settings.load(tmp_path / folder, environ={"PYDAG_CACHE": redis_url, **environ})
        records = cache.records(store, found, pytest.fail)
        assert isinstance(records, SharedRecords)
        return records

    with Store(f"sqlite:///{tmp_path / 'pydag.db'}") as store:
        shared("one", elsewhere).put([FRESH, on_project := replace(FRESH, target="my-project")])
        elsewhere.settled()
        other = shared("other", store)
        assert other.matching("dag", "local", WANTED) == {}
        assert other.matching("dag", "my-project", WANTED) == {"a": on_project}
        assert shared("one", store).matching("dag", "local", WANTED) == {"a": FRESH}


def test_one_project_may_have_two_names(tmp_path: Path, store: Store, elsewhere: Store, redis_url: str) -> None:
    (tmp_path / "pydag.toml").write_text(f'cache = "{redis_url}"\n[targets.prod]\nproject = "my-project"')
    found = settings.load(tmp_path, environ={})
    cache.records(elsewhere, found, pytest.fail).put([replace(FRESH, target="my-project")])
    elsewhere.settled()
    records = cache.records(store, found, pytest.fail)
    assert records.matching("dag", "prod", WANTED) == {"a": replace(FRESH, target="prod")}


def test_without_a_setting_the_store_has_the_records(tmp_path: Path, store: Store) -> None:
    assert cache.records(store, settings.load(tmp_path, environ={}), pytest.fail) is store.records


# expiry --------------------------------------------------------------------------------------------------------------


def test_redis_forgets_by_itself_what_expires(store: Store, redis_server: RedisServer, redis_url: str) -> None:
    records = SharedRecords(store, redis_url, pytest.fail)
    records.put(
        [
            FRESH,
            replace(FRESH, task_id="for_ever", expires=None),
            replace(FRESH, task_id="over", expires=NOW - timedelta(seconds=1)),
            replace(FRESH, task_id="appended", expires=NOW - timedelta(seconds=1), accumulating=True),
        ]
    )
    store.settled()
    with redis_server.client() as client:
        lives = {key.decode(): client.pttl(key) for key in client.scan_iter()}
    tasks = {key.split(":")[4]: life for key, life in lives.items()}
    assert set(tasks) == {"a", "for_ever", "appended"}
    assert 0 < tasks["a"] <= 3_600_000
    assert 3_600_000 < tasks["for_ever"] <= 90 * 24 * 3_600_000
    # And the store knows what is over, so that one can say since when
    assert set(records.matching("dag", "local", {"over": ("f1", "")})) == {"over"}


def test_redis_gets_nothing_of_what_was_taken_back(store: Store, redis_server: RedisServer, redis_url: str) -> None:
    records = SharedRecords(store, redis_url, pytest.fail)
    with pytest.raises(ZeroDivisionError), store.together():  # noqa: PT012 - what is inside is the point
        records.put([FRESH])
        raise ZeroDivisionError
    store.settled()
    with redis_server.client() as client:
        assert client.dbsize() == 0
        with store.together():
            records.put([FRESH])
            store.settled()
            assert client.dbsize() == 0
        store.settled()
        assert client.dbsize() == 2


# failures ------------------------------------------------------------------------------------------------------------


def works_alone(store: Store, url: str, warnings: list[str]) -> str:
    """Use a Redis that fails: the records of the store are there, and one warning says why."""
    records = SharedRecords(store, url, warnings.append)
    records.put([FRESH])
    assert records.matching("dag", "local", WANTED) == records.newest("dag", "local", ["a"]) == {"a": FRESH}
    assert records.clear(dag_id="dag", target="local") == 1
    assert len(warnings) == 1
    assert warnings[0].startswith("the shared cache, Redis on 127.0.0.1, ")
    assert warnings[0].endswith("; going on with the metadata database alone")
    assert PASSWORD not in warnings[0]
    assert "\n" not in warnings[0]
    return warnings[0]


def test_a_redis_that_is_down_is_told_once(store: Store, warnings: list[str]) -> None:
    assert "cannot be used" in works_alone(store, f"redis://:{PASSWORD}@127.0.0.1:1", warnings)


def test_a_redis_that_does_not_answer_is_left_alone(
    store: Store, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.getsockname()[1]}"
        assert "cannot be used: Timeout" in works_alone(store, url, warnings)


def test_a_wrong_password_is_told_once(store: Store, warnings: list[str], redis_url: str) -> None:
    assert "cannot be used: " in works_alone(store, redis_url.replace(PASSWORD, f"{PASSWORD}x"), warnings)


def test_a_server_that_speaks_no_tls_is_told_once(
    store: Store, warnings: list[str], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_TIMEOUT", 0.1)
    assert "cannot be used: " in works_alone(store, redis_url.replace("redis:", "rediss:"), warnings)


def test_redis_is_asked_again_after_a_while(
    store: Store, elsewhere: Store, warnings: list[str], redis_server: RedisServer, redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(cache, "_PAUSE", 0.0)
    records = SharedRecords(store, redis_url, warnings.append)
    records.put([replace(FRESH, task_id="before")])
    store.settled()
    redis_server.stop()
    try:
        records.put([FRESH])
        records.put([FRESH])
        store.settled()
    finally:
        redis_server.start()
    records.put([FRESH])
    store.settled()
    assert len(warnings) == 1
    assert SharedRecords(elsewhere, redis_url, pytest.fail).newest("dag", "local", ["a"]) == {"a": FRESH}


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[1", b"\xff", b"null", json.dumps(RECORD.to_json()).encode()])
def test_something_else_in_redis_is_no_record(
    store: Store, warnings: list[str], redis_server: RedisServer, redis_url: str, garbage: bytes
) -> None:
    # Given, in place of the record of b, what is none, or that of another task
    with redis_server.client() as client:
        client.set("pydag:1:local:dag:b:f1:", garbage)
    records = SharedRecords(store, redis_url, warnings.append)
    assert records.matching("dag", "local", {"b": ("f1", "")}) == {}
    assert "holds something else than records" in warnings[0]


def test_a_key_of_another_type_is_no_record_and_is_overwritten(
    store: Store, redis_server: RedisServer, redis_url: str
) -> None:
    with redis_server.client() as client:
        client.lpush("pydag:1:local:dag:a:f1:", "x")
    records = SharedRecords(store, redis_url, pytest.fail)
    assert records.matching("dag", "local", WANTED) == {}
    records.put([FRESH])
    assert records.matching("dag", "local", WANTED) == {"a": FRESH}


def test_clearing_leaves_the_keys_of_others_alone(store: Store, redis_server: RedisServer, redis_url: str) -> None:
    names = ["pydag:1:local:dag2:a:f1:", "pydag:1:localX:dag:a:f1:", "other"]
    with redis_server.client() as client:
        for name in names:
            client.set(name, json.dumps(RECORD.to_json()))
        SharedRecords(store, redis_url, pytest.fail).clear(dag_id="dag", target="local", appended=True)
        SharedRecords(store, redis_url, pytest.fail).clear(dag_id="*", target="*", appended=True)
        assert client.exists(*names) == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://u:secret@host",
        "redis://u:sec@ret@host:secret",
        "redis://:secret@host/secret",
        "redis://:secret@host?secret=1",
        "redis://:secret@host?socket_timeout=secret",
        "host:6379",
    ],
)
def test_a_wrong_url_is_refused_without_telling_the_password(store: Store, url: str) -> None:
    with pytest.raises(SettingsError, match=r"PYDAG_CACHE.*; write PYDAG_CACHE like redis://") as raised:
        SharedRecords(store, url, pytest.fail)
    assert "secret" not in str(raised.value)
