"""Versions: another one exactly if the data may be another, of tables, views of views, datasets, objects."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
from google.cloud import bigquery
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import TargetUnreachable
from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.local.admin import Service
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.serving import HttpServer
from pydag_gcp.local.storage.routes import routes
from pydag_gcp.resources import MISSING, UNKNOWN, Cluster, GCSObject, Resource, Table, Version, resource_key
from pydag_gcp.versions import Versions
from pydag_gcp.views import Seen, View, settled, view_of

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService

pytest_plugins = ("tests.local.bigquery.service",)


@pytest.fixture(scope="module")
def storage(bigquery_service: BigQueryService) -> Iterator[HttpServer]:
    server = HttpServer(Service(routes(bigquery_service.objects), Faults()))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def clients(bigquery_service: BigQueryService, storage: HttpServer) -> Iterator[Clients]:
    endpoints = Endpoints(
        bigquery=bigquery_service.url, storage=f"http://127.0.0.1:{storage.port}", dataproc="127.0.0.1:1"
    )
    made = Clients(Target(name="local", project="p-roject", endpoints=endpoints))
    yield made
    made.close()
    bigquery_service.faults.clear()


@pytest.fixture
def shop(clients: Clients, request: pytest.FixtureRequest) -> str:
    """A dataset of the test's own."""
    name = request.node.name.replace("[", "_").rstrip("]")
    clients.bigquery().create_dataset(name)
    return f"p-roject.{name}"


def sql(clients: Clients, text: str) -> None:
    clients.bigquery().query_and_wait(text)


def version(clients: Clients, name: str) -> Version:
    """A table's version, asked for alone, and among others."""
    table = Table(name)
    alone = table.version(clients)
    assert Versions(clients).of([table, Table("none.none")])[table] == alone
    return alone


# tables ---------------------------------------------------------------------------------------------------------------


def test_a_table_has_another_version_after_each_change_and_no_other(clients: Clients, shop: str) -> None:
    table = f"{shop}.t"
    seen = [version(clients, table)]
    for change in (
        f"CREATE TABLE {table} (id INT64)",
        f"INSERT {table} VALUES (1)",
        f"INSERT {table} VALUES (1)",
        f"UPDATE {table} SET id = 2 WHERE true",
        f"DELETE {table} WHERE true",
        f"CREATE OR REPLACE TABLE {table} (id INT64)",
    ):
        sql(clients, change)
        seen.append(version(clients, table))
        assert version(clients, table) == seen[-1]
    assert seen[0] is MISSING
    assert UNKNOWN not in seen
    assert len(set(seen)) == len(seen)
    sql(clients, f"DROP TABLE {table}")
    assert version(clients, table) is MISSING


def test_a_partition_has_the_version_of_its_table(clients: Clients, shop: str) -> None:
    """https://cloud.google.com/bigquery/docs/managing-partitioned-tables#get_partition_metadata: by queries."""
    sql(clients, f"CREATE TABLE {shop}.t (day DATE) PARTITION BY day AS SELECT DATE '2022-01-31' AS day")
    assert version(clients, f"{shop}.t$20220131") == version(clients, f"{shop}.t")
    assert version(clients, f"{shop}.none$20220131") is MISSING


def test_wildcards_are_unknown_and_a_dataset_is_as_old_as_it_is(clients: Clients, shop: str) -> None:
    assert version(clients, f"{shop}.events_*") is UNKNOWN
    before = version(clients, f"{shop}.*")
    sql(clients, f"CREATE TABLE {shop}.t (id INT64)")
    assert isinstance(before, str)
    assert version(clients, f"{shop}.*") == before
    clients.bigquery().delete_dataset(shop, delete_contents=True)
    assert version(clients, f"{shop}.*") is MISSING
    clients.bigquery().create_dataset(shop)
    assert version(clients, f"{shop}.*") not in {before, MISSING, UNKNOWN}


# views ----------------------------------------------------------------------------------------------------------------


def test_a_view_changes_with_its_definition_and_with_all_that_is_behind_it(clients: Clients, shop: str) -> None:
    sql(clients, f"CREATE TABLE {shop}.t AS SELECT 1 AS id")
    sql(clients, f"CREATE TABLE {shop}.u AS SELECT 2 AS id")
    sql(clients, f"CREATE VIEW {shop}.v AS SELECT * FROM {shop}.t")
    sql(clients, f"CREATE VIEW {shop}.w AS SELECT v.id FROM {shop}.v JOIN {shop}.u USING (id)")
    v, w = version(clients, f"{shop}.v"), version(clients, f"{shop}.w")
    assert isinstance(v, str)
    assert isinstance(w, str)

    sql(clients, f"INSERT {shop}.u VALUES (3)")
    assert version(clients, f"{shop}.v") == v
    assert version(clients, f"{shop}.w") != w

    w = version(clients, f"{shop}.w")
    sql(clients, f"INSERT {shop}.t VALUES (3)")
    assert version(clients, f"{shop}.v") != v
    assert version(clients, f"{shop}.w") != w

    w = version(clients, f"{shop}.w")
    sql(clients, f"CREATE OR REPLACE VIEW {shop}.v AS SELECT * FROM {shop}.t WHERE id > 0")
    assert version(clients, f"{shop}.w") != w

    w = version(clients, f"{shop}.w")
    sql(clients, f"CREATE OR REPLACE VIEW {shop}.v AS SELECT * FROM {shop}.t WHERE id > 0")
    assert version(clients, f"{shop}.w") == w


@pytest.mark.parametrize("part", ["CURRENT_DATE()", "RAND()", "SESSION_USER()"])
def test_a_view_whose_rows_nobody_can_foretell_is_unknown(part: str) -> None:
    assert view_of(f"SELECT {part} AS x FROM d.t", project="p") is UNKNOWN


def test_a_view_that_reads_more_than_tables_or_is_not_understood_is_unknown() -> None:
    for text in (
        "SELECT d.mine(1)",
        "SELECT * FROM d.INFORMATION_SCHEMA.TABLES",
        "SELECT * FROM EXTERNAL_QUERY('us.c', 'SELECT 1')",
        "SELECT FROM WHERE",
        "",
        "SELECT 1; SELECT 2",
    ):
        assert view_of(text, project="p") is UNKNOWN
    assert view_of("SELECT * FROM d.t, other-1.d.u", project="pr-1") == View(
        definition="SELECT * FROM d.t, other-1.d.u", reads=frozenset({Table("pr-1.d.t"), Table("other-1.d.u")})
    )


def test_each_thing_behind_views_is_asked_for_once(
    bigquery_service: BigQueryService, clients: Clients, shop: str
) -> None:
    sql(clients, f"CREATE TABLE {shop}.t AS SELECT 1 AS id")
    for name, source in (("a", "t"), ("b", "t"), ("c", "a"), ("d", "b")):
        sql(clients, f"CREATE VIEW {shop}.{name} AS SELECT * FROM {shop}.{source}")
    wanted = [Table(f"{shop}.{name}") for name in "abcdt"] + [
        Table(f"{shop}.t$20220131"),
        Table(f"{shop}.t", shared=True),
    ]
    bigquery_service.faults.clear()
    found = Versions(clients).of(wanted)
    assert UNKNOWN not in found.values()
    assert found.keys() == set(wanted)
    assert bigquery_service.faults.calls() == {"bigquery.tables.get": 5}


NAMES = [Table(f"p-roject.d.{letter}") for letter in "abcdef"]
worlds = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(
        st.sampled_from(["1", "2", MISSING, UNKNOWN]),
        st.builds(
            lambda sql, reads: View(definition=sql, reads=reads),
            st.sampled_from("xy"),
            st.frozensets(st.sampled_from(NAMES)),
        ),
    ),
)


def expanded(world: Mapping[Resource, Seen], resource: Resource, path: tuple[Resource, ...] = ()) -> object:
    """What a resource shows, written out: the same for two worlds exactly if they show the same. None: unknown."""
    found = world.get(resource, MISSING)
    if found is UNKNOWN or resource in path:
        return None
    if not isinstance(found, View):
        return found
    below = {read: expanded(world, read, (*path, resource)) for read in found.reads}
    return None if None in below.values() else (found.definition, frozenset(below.items()))


@given(worlds, worlds)
def test_two_worlds_give_a_resource_one_version_exactly_if_it_shows_the_same(
    one: dict[Resource, Seen], other: dict[Resource, Seen]
) -> None:
    versions = []
    for world in (one, other):
        asked: list[Resource] = []

        def ask(
            wave: Collection[Resource], world: Mapping[Resource, Seen] = world, asked: list[Resource] = asked
        ) -> dict[Resource, Seen]:
            asked.extend(wave)
            return {resource: world.get(resource, MISSING) for resource in wave}

        versions.append(settled(NAMES, ask))
        assert len(asked) == len(set(asked))
    for name in NAMES:
        mine, its = (expanded(world, name) for world in (one, other))
        assert (versions[0][name] is UNKNOWN) == (mine is None)
        if mine is not None and its is not None:
            assert (versions[0][name] == versions[1][name]) == (mine == its)


def test_views_that_branch_at_every_level_take_no_longer_than_they_are_many() -> None:
    levels = [[Table(f"p-roject.d.v{level}{side}") for side in "ab"] for level in range(60)]
    world: dict[Resource, Seen] = dict.fromkeys(levels[0], "1")
    for below, above in itertools.pairwise(levels):
        world |= {view: View(definition="both", reads=frozenset(below)) for view in above}
    found = settled(levels[-1], lambda wave: {resource: world[resource] for resource in wave})
    assert UNKNOWN not in found.values()


# objects --------------------------------------------------------------------------------------------------------------


def test_objects_prefixes_and_globs(bigquery_service: BigQueryService, clients: Clients) -> None:
    one, folder, glob = (GCSObject(f"gs://objects/{name}") for name in ("in/a.csv", "in/", "in/*.csv"))
    versions = Versions(clients)
    assert set(versions.of([one, folder, glob]).values()) == {MISSING}
    bigquery_service.put("gs://objects/in/a.csv", "1")
    first = versions.of([one, folder, glob])
    assert first == versions.of([one, folder, glob])
    bigquery_service.put("gs://objects/in/b.txt", "1")
    second = versions.of([one, folder, glob])
    assert [second[part] == first[part] for part in (one, folder, glob)] == [True, False, True]
    bigquery_service.put("gs://objects/in/a.csv", "1")
    third = versions.of([one, folder, glob])
    assert [third[part] == second[part] for part in (one, folder, glob)] == [False, False, False]


def test_a_glob_stands_for_what_a_load_job_reads_by_it(bigquery_service: BigQueryService, clients: Clients) -> None:
    glob, versions = GCSObject("gs://objects/in/*.csv"), Versions(clients)
    bigquery_service.put("gs://objects/in/a.csv", "1")
    first = versions.of([glob])
    bigquery_service.put("gs://objects/in/deeper/b.csv", "1")
    second = versions.of([glob])
    assert first != second
    bigquery_service.put("gs://objects/in/deeper/b.txt", "1")
    assert versions.of([glob]) == second


# the cloud ------------------------------------------------------------------------------------------------------------


def test_a_moment_of_outage_changes_nothing(bigquery_service: BigQueryService, clients: Clients, shop: str) -> None:
    sql(clients, f"CREATE TABLE {shop}.t (id INT64)")
    before = version(clients, f"{shop}.t")
    for kind in ("503", "429", "reset"):
        bigquery_service.faults.add(method="bigquery.tables.get", kind=kind)
        assert Versions(clients).of([Table(f"{shop}.t")]) == {Table(f"{shop}.t"): before}


def test_an_outage_is_no_news_about_the_data(bigquery_service: BigQueryService, clients: Clients) -> None:
    bigquery_service.faults.add(method="bigquery.tables.get", kind="503", times=100)
    with pytest.raises(TargetUnreachable, match=r"p-roject\.d\.t: its service does not answer: 503"):
        Versions(clients).of([Table("d.t"), Table("d.u")])


def test_nothing_is_asked_for_nothing(bigquery_service: BigQueryService, clients: Clients) -> None:
    bigquery_service.faults.clear()
    assert Versions(clients).of([]) == {}
    assert bigquery_service.faults.calls() == {}


class Asked(Table):
    """Answers by itself, and notes how many are asked at a time."""

    def whole(self, project: str) -> Asked:
        return self

    def look(self, clients: Clients) -> Version:
        BARRIER.wait()
        return self.table


BARRIER = threading.Barrier(8, timeout=30)


def test_several_are_asked_for_at_a_time_from_any_thread(clients: Clients) -> None:
    wanted = [Asked(table=f"d.t{number}") for number in range(16)]
    found: list[dict[Asked, Version]] = []
    thread = threading.Thread(target=lambda: found.append(dict(Versions(clients, threads=8).of(wanted))))  # type: ignore[arg-type]
    thread.start()
    thread.join()
    assert found == [{table: table.table for table in wanted}]


class Refused(Table):
    def look(self, clients: Clients) -> Version:
        from google.api_core.exceptions import Forbidden

        raise Forbidden("no")

    def whole(self, project: str) -> Refused:
        return self


def test_a_refusal_leaves_a_version_unknown(clients: Clients) -> None:
    assert Versions(clients).of([Refused(table="d.t")]) == {Refused(table="d.t"): UNKNOWN}


def test_keys_are_stable_names() -> None:
    keys = [
        resource_key(part)
        for part in (Table("p-roject.d.t$1"), GCSObject("gs://bucket/a/"), Cluster("c", region="r-a1"))
    ]
    assert keys == ["table p-roject.d.t$1", "object gs://bucket/a/", "cluster r-a1/c"]


def test_a_table_that_is_written_to_by_streaming_is_unknown(clients: Clients, shop: str) -> None:
    """https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#Streamingbuffer."""
    found = bigquery.Table.from_api_repr(
        {
            "tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"},
            "type": "TABLE",
            "streamingBuffer": {"estimatedRows": "1"},
        }
    )

    class Client(bigquery.Client):
        def __init__(self) -> None: ...

        def get_table(self, *_: object, **__: object) -> bigquery.Table:
            return found

    from pydag_gcp.views import look

    assert look(Table("p-roject.d.t"), Client()) is UNKNOWN
