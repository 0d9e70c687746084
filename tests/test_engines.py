"""URLs of metadata databases, and what goes wrong with them; a password is never told."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pydag_gcp import engines
from pydag_gcp.errors import SettingsError, StoreError
from pydag_gcp.store import Store
from tests.servers import PASSWORD, PostgreSQL


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nonsense", "PYDAG_STORE is not a URL"),
        ("", "PYDAG_STORE is not a URL"),
        ("postgresql://user:pass@secret@host:secret/db", "PYDAG_STORE is not a URL"),
        ("postgresql://[::secret/db", "PYDAG_STORE is not a URL"),
        ("oracle://user:secret@host/x", "PYDAG_STORE: oracle is not supported"),
        ("redis://:secret@host", "PYDAG_STORE: redis is not supported"),
        ("sqlite://", "PYDAG_STORE: a database in memory would forget what ran"),
        ("sqlite:///:memory:", "PYDAG_STORE: a database in memory would forget what ran"),
        ("sqlite:///file:x?mode=memory&uri=true", "PYDAG_STORE: a database in memory would forget what ran"),
        ("sqlite://folder/pydag.db", "PYDAG_STORE: a SQLite URL has three slashes before its path"),
    ],
)
def test_a_wrong_url_is_refused_with_one_that_is_right(url: str, what: str) -> None:
    with pytest.raises(SettingsError, match=rf"{what}; write PYDAG_STORE like sqlite:////folder.* or pos") as raised:
        Store(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["postgresql://u:secret@h:1/d", "postgres://u:secret@h:1/d", "postgresql+asyncpg://u:secret@h:1/d"]
)
def test_every_postgresql_url_is_opened_with_psycopg(url: str) -> None:
    assert engines.parse(url).drivername == "postgresql+psycopg"
    assert engines.place(engines.parse(url)) == "metadata database postgresql://h:1/d"


def test_places_tell_where_but_not_who() -> None:
    assert (
        engines.place(engines.parse("postgresql:///d?host=h&password=secret")) == "metadata database postgresql://h/d"
    )
    assert engines.place(engines.parse("sqlite:////x/pydag.db")) == "metadata database /x/pydag.db"


def test_a_missing_driver_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs psycopg; install it: pip install 'pydag-gcp\[postgres\]'"):
        Store("postgresql://host/db")


def test_what_a_server_refuses_is_one_line_without_the_password(postgresql_server: PostgreSQL) -> None:
    good = postgresql_server.url("postgres")
    for url, said, hint in [
        (good.replace(f":{postgresql_server.port}", ":1"), "Connection refused", "start the server"),
        (
            good.replace(PASSWORD, f"{PASSWORD}-wrong"),
            "password authentication failed",
            "check the user and the password",
        ),
        (good.replace("/postgres", "/nothing"), 'database "nothing" does not exist', "create it, or check PYDAG_STORE"),
        (good.replace("127.0.0.1", "no-such-host.invalid"), "resolve host", "check the host in PYDAG_STORE"),
    ]:
        with pytest.raises(StoreError) as raised:
            Store(url)
        message = str(raised.value)
        assert message.startswith("metadata database postgresql://")
        assert said in message
        assert hint in message
        assert PASSWORD not in message
        assert "\n" not in message


def test_a_schema_that_the_user_may_not_write_to_is_one_clear_error(postgresql_server: PostgreSQL) -> None:
    postgresql_server.execute("DROP ROLE IF EXISTS guest")
    postgresql_server.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    url = postgresql_server.new().replace("//pydag:", "//guest:")
    with pytest.raises(
        StoreError, match=r"permission denied for schema public.*; grant the user CREATE on that schema"
    ):
        Store(url)


def test_a_relative_path_starts_in_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        with Store("sqlite:///pydag.db"):
            assert (tmp_path / name / "pydag.db").exists()
