"""Many jobs at once, on the local cloud: by how few calls they are followed, and what its faults do to that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.events import Event, RunWarned
from pydag_gcp.executor import execute
from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.local import daemon
from pydag_gcp.local.calls import Call
from pydag_gcp.local.remote import Remote
from pydag_gcp.operators import BigQueryQuery
from pydag_gcp.planner import plan
from pydag_gcp.result import RunResult
from pydag_gcp.settings import load
from pydag_gcp.states import RunState

LIST, GET, INSERT = "bigquery.jobs.list", "bigquery.jobs.get", "bigquery.jobs.insert"


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemon.Endpoints]:
    home = tmp_path_factory.mktemp("cloud")
    yield daemon.up(home, idle=600)
    daemon.down(home)


@pytest.fixture
def cloud(endpoints: daemon.Endpoints, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    for name, value in endpoints.environment().items():
        monkeypatch.setenv(name, value)
    with closing(Remote(endpoints.bigquery)) as remote:
        remote.clear()
        yield remote
        remote.clear()


def stay_pending(cloud: Remote, jobs: int, seconds: float) -> None:
    cloud.fault({"method": INSERT, "fault": "pending", "times": jobs, "seconds": seconds})


def run(jobs: int, **options: Any) -> tuple[RunResult, list[str]]:
    """Run so many queries at once; return what came of it, and what the user was told."""
    with DAG("many", **options) as dag:
        for number in range(jobs):
            BigQueryQuery(task_id=f"job{number}", sql=f"SELECT {number} AS n")
    events: list[Event] = []
    result = execute(plan(dag, load(Path.cwd())), max_processors=8, listeners=[events.append])
    return result, [event.message for event in events if isinstance(event, RunWarned)]


def assert_each_ran_once(result: RunResult, calls: list[Call], jobs: int) -> None:
    assert result.state is RunState.SUCCESS
    assert {task.tries for task in result.tasks.values()} == {1}
    accepted = Counter(call.task for call in calls if call.method == INSERT)
    assert accepted == {f"job{number}": 1 for number in range(jobs)}


def test_many_jobs_are_followed_by_few_calls(cloud: Remote) -> None:
    # Given sixty jobs that stay pending for two seconds
    stay_pending(cloud, 60, 2)
    # When they are run
    result, told = run(60)
    # Then each ran once
    calls = cloud.calls()
    assert_each_ran_once(result, calls, 60)
    assert told == []
    # And was looked at alone only while there were few, and to see its end; by itself it would be 30 times
    alone = Counter(call.task for call in calls if call.method == GET and not call.subject.over)
    assert alone.keys() == result.tasks.keys()
    assert sum(alone.values()) < 60 * 4
    assert sum(number == 1 for number in alone.values()) > 20
    # The others were seen in lists
    assert sum(call.method == LIST for call in calls) >= 3


def test_faults_of_lists_cost_no_job_and_make_none_twice(cloud: Remote) -> None:
    # Given lists of which the first ones fail, one after another
    stay_pending(cloud, 30, 2)
    faults = ["429", "lost-answer", "reset", "accepted-503"]
    for fault in faults:
        cloud.fault({"method": LIST, "fault": fault})
    result, told = run(30)
    calls = cloud.calls()
    met = [call.fault for call in calls if call.method == LIST and call.fault is not None]
    assert met
    assert met == faults[: len(met)]
    assert_each_ran_once(result, calls, 30)
    assert told == []


def test_a_limit_holds_for_jobs_in_flight(cloud: Remote, endpoints: daemon.Endpoints) -> None:
    stay_pending(cloud, 12, 0.2)
    result, _ = run(12, limits={"bigquery": 3})
    assert_each_ran_once(result, cloud.calls(), 12)
    assert most_at_once(endpoints, {call.subject.job for call in cloud.calls()}) == 3


def test_a_service_that_refuses_for_its_rate_gets_fewer_jobs_and_the_user_is_told_once(cloud: Remote) -> None:
    cloud.fault({"method": INSERT, "fault": "429", "call": 5, "times": 3})
    stay_pending(cloud, 20, 0.2)
    result, told = run(20)
    assert result.state is RunState.SUCCESS
    assert {task.tries for task in result.tasks.values()} == {1}  # what is sent again is no new try
    (message,) = told
    assert message.startswith("bigquery refuses for its rate: at most ")


def most_at_once(endpoints: daemon.Endpoints, jobs: set[str]) -> int:
    """How many of some jobs there were at once, by BigQuery's clock."""
    where = Endpoints(bigquery=endpoints.bigquery, storage=endpoints.storage, dataproc=endpoints.dataproc)
    with closing(Clients(Target(name="local", project=endpoints.project, endpoints=where))) as clients:
        found = [job for job in clients.bigquery().list_jobs() if job.job_id in jobs]
    changes = sorted([(job.created, 1) for job in found] + [(job.ended, -1) for job in found])
    return max(accumulate(change for _, change in changes))
