"""Datasets exist before a run starts, against the local BigQuery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pydag_gcp.datasets import ensure
from pydag_gcp.errors import SettingsError, TargetUnreachable
from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.resources import Table

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService

pytest_plugins = ("tests.local.bigquery.service",)


@pytest.fixture
def clients(bigquery_service: BigQueryService) -> Iterator[Clients]:
    url = bigquery_service.url
    endpoints = Endpoints(bigquery=url, storage=url, dataproc="127.0.0.1:1")
    made = Clients(Target(name="local", project="p-roject", endpoints=endpoints, create_datasets=True))
    yield made
    made.close()


def test_a_missing_dataset_is_created_once_in_the_location_of_the_target(clients: Clients) -> None:
    tables = [Table("made.a"), Table("p-roject.made.b")]
    assert ensure(clients, tables) == ["p-roject.made"]
    assert ensure(clients, tables) == []
    assert clients.bigquery().get_dataset("p-roject.made").location == "US"


def test_where_the_settings_do_not_allow_it_the_error_says_how_to(clients: Clients) -> None:
    careful = Clients(replace(clients.target, create_datasets=False, name="production"))
    with pytest.raises(
        SettingsError,
        match=r"dataset 'p-roject\.none': does not exist on target 'production'; create it, or set create_datasets = ",
    ):
        ensure(careful, [Table("none.t")])
    careful.close()


def test_a_dataset_that_a_task_makes_is_left_to_it(clients: Clients) -> None:
    assert ensure(clients, [Table("later.*"), Table("later.t")]) == []


def test_a_service_that_answers_badly_for_a_moment_is_asked_again(
    bigquery_service: BigQueryService, clients: Clients
) -> None:
    bigquery_service.faults.add(method="bigquery.datasets.get", kind="503", times=2)
    assert ensure(clients, [Table("moment.t")]) == ["p-roject.moment"]


def test_a_service_that_does_not_answer_is_said_to_be_out_of_reach(
    bigquery_service: BigQueryService, clients: Clients
) -> None:
    bigquery_service.faults.add(method="bigquery.datasets.get", kind="503", times=20)
    with pytest.raises(TargetUnreachable, match=r"dataset 'p-roject\.away': BigQuery does not answer"):
        ensure(clients, [Table("away.t")])
    bigquery_service.faults.clear()


def test_a_local_cloud_that_died_after_it_was_reached_is_started_again(
    bigquery_service: BigQueryService, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    revived: list[bool] = []
    monkeypatch.setattr(clients, "revive", lambda: revived.append(True))
    bigquery_service.faults.add(method="bigquery.datasets.get", kind="reset")
    assert ensure(clients, [Table("died.t")]) == ["p-roject.died"]
    assert revived == [True]
