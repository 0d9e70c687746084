"""Resources: names, defaults, overlaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import Cluster, GCSObject, Resource, Table, normalised


@pytest.mark.parametrize(
    ("name", "project", "dataset", "table", "partition"),
    [
        ("t", None, None, "t", None),
        ("d.t", None, "d", "t", None),
        ("my-project.d.t", "my-project", "d", "t", None),
        ("example.com:my-project.d.t", "example.com:my-project", "d", "t", None),
        ("d.t$20220131", None, "d", "t", "20220131"),
        ("d.events_*", None, "d", "events_*", None),
        ("`my-project.d.t`", "my-project", "d", "t", None),
        ("d.été", None, "d", "été", None),
    ],
)
def test_a_table_knows_its_parts(
    name: str, project: str | None, dataset: str | None, table: str, partition: str | None
) -> None:
    found = Table(name)
    assert (found.project, found.dataset, found.name, found.partition) == (project, dataset, table, partition)


@pytest.mark.parametrize(
    "name", ["", ".", "a.b.c.d", "d.", ".t", "d-x.t", "P.d.t", "d.t`; DROP TABLE x", "d.t*x", "d.t$"]
)
def test_what_is_no_table_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"Table: field 'table': expected a table such as"):
        Table(name)


@pytest.mark.parametrize("uri", ["bucket/name", "gs://", "gs:///x", "s3://b/x", "gs://B/x", "gs://bucket/a\nb"])
def test_what_is_no_object_is_refused(uri: str) -> None:
    with pytest.raises(DefinitionError, match=r"GCSObject: field 'uri'"):
        GCSObject(uri)


def test_what_is_no_cluster_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"field 'region': expected a region such as 'us-central1', got 'us central'"
    ):
        Cluster("c", region="us central")
    with pytest.raises(DefinitionError, match="field 'name'"):
        Cluster("Upper")
    with pytest.raises(DefinitionError, match="field 'zone'"):
        Cluster("c", zone="a")  # type: ignore[call-arg]


def test_templates_are_checked_when_they_are_rendered() -> None:
    assert Table("{{ params.dataset }}.t").table == "{{ params.dataset }}.t"
    assert Cluster("{{ params.name }}").name == "{{ params.name }}"


def test_defaults_are_filled_in() -> None:
    assert Table("t", shared=True).qualified("p-roject", "d") == Table("p-roject.d.t", shared=True)
    assert Table("d.t$2022").qualified("p-roject") == Table("p-roject.d.t$2022")
    with pytest.raises(DefinitionError, match="has no dataset; write it as"):
        Table("t").qualified("p-roject")
    assert normalised(frozenset({Table("d.t"), Cluster("c")}), "p-roject") == {Table("p-roject.d.t"), Cluster("c")}


OVERLAPS = [
    (Table("d.t"), Table("d.t"), True),
    (Table("d.t"), Table("d.u"), False),
    (Table("d.t"), Table("e.t"), False),
    (Table("d.t"), Table("t"), True),  # its dataset may be d
    (Table("a-project.d.t"), Table("d.t"), True),
    (Table("a-project.d.t"), Table("b-project.d.t"), False),
    (Table("d.t$20220101"), Table("d.t"), True),
    (Table("d.t$20220101"), Table("d.t$20220102"), False),
    (Table("d.t$20220101"), Table("d.t$202201"), True),  # the day lies in the month
    (Table("d.t$10"), Table("d.t$100"), False),  # of integers, neither holds the other
    (Table("d.t$2022013112"), Table("d.t$20220131"), True),
    (Table("d.t$__NULL__"), Table("d.t$20220131"), False),
    (Table("d.events_*"), Table("d.events_2022"), True),
    (Table("d.events_*"), Table("d.event"), False),
    (Table("d.events_*"), Table("d.events_20*"), True),
    (Table("d.a_*"), Table("d.b_*"), False),
    (GCSObject("gs://bucket/a/b"), GCSObject("gs://bucket/a/b"), True),
    (GCSObject("gs://bucket/a/b"), GCSObject("gs://bucket/a/bc"), False),
    (GCSObject("gs://bucket/a/b"), GCSObject("gs://other/a/b"), False),
    (GCSObject("gs://bucket/a/"), GCSObject("gs://bucket/a/b"), True),
    (GCSObject("gs://bucket/a/"), GCSObject("gs://bucket/ab"), False),
    (GCSObject("gs://bucket"), GCSObject("gs://bucket/ab"), True),
    (GCSObject("gs://bucket/a/*.csv"), GCSObject("gs://bucket/a/b.csv"), True),
    (GCSObject("gs://bucket/a/*.csv"), GCSObject("gs://bucket/a/b.json"), False),
    (GCSObject("gs://bucket/a/*.csv"), GCSObject("gs://bucket/a/"), True),
    (GCSObject("gs://bucket/a/*"), GCSObject("gs://bucket/b/*"), False),
    (GCSObject("gs://bucket/a/*.csv"), GCSObject("gs://bucket/a/*.json"), False),
    (GCSObject("gs://bucket/a/*.csv"), GCSObject("gs://bucket/*/x.csv"), True),
    (GCSObject("gs://bucket/a-?.csv"), GCSObject("gs://bucket/a-[0-9].csv"), True),
    (GCSObject("gs://bucket/a-[0-9].csv"), GCSObject("gs://bucket/a-x*"), False),
    (GCSObject("gs://bucket/a*/"), GCSObject("gs://bucket/abc/d"), True),
    (Cluster("c"), Cluster("c"), True),
    (Cluster("c"), Cluster("c", region="europe-west1"), False),
    (Table("d.t"), Cluster("t"), False),
    (GCSObject("gs://bucket/t"), Table("d.t"), False),
]


@pytest.mark.parametrize(("one", "other", "expected"), OVERLAPS)
def test_overlaps(one: Resource, other: Resource, expected: bool) -> None:
    assert one.overlaps(other) is expected
    assert other.overlaps(one) is expected


names = st.from_regex(r"[a-z_]{1,5}", fullmatch=True)
tables = st.builds(
    lambda d, t, end: Table(f"{d}.{t}{end}"), names, names, st.sampled_from(["", "*", "$2022", "$20220101"])
)
objects = st.builds(
    lambda n, end: GCSObject(f"gs://bucket/{n}{end}"), names, st.sampled_from(["", "/", "/*", "*", "/x", "?.csv"])
)


@given(tables | objects, tables | objects)
def test_overlap_is_symmetric_and_reflexive(one: Resource, other: Resource) -> None:
    assert one.overlaps(one)
    assert one.overlaps(other) == other.overlaps(one)
    assert (one == other) <= one.overlaps(other)
