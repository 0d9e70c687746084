"""The pipeline on a real project, once. docs/gcp.md says how to run it and what it costs.

Needs PYDAG_TEST_PROJECT, PYDAG_TEST_BUCKET (a bucket that the project may write to) and credentials; skipped without.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"
SAMPLE = PIPELINES / "data" / "project-pydag" / "input" / "test.csv"
CLUSTER = ("us-central1", "cluster-dataproc-pydag-2022")

#: As it was before any fixture cleaned it: the credentials may be named there.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
PROJECT = ENVIRONMENT.get("PYDAG_TEST_PROJECT")
BUCKET = ENVIRONMENT.get("PYDAG_TEST_BUCKET")

pytestmark = [
    pytest.mark.gcp,
    pytest.mark.timeout(2700),
    pytest.mark.skipif(
        not (PROJECT and BUCKET), reason="set PYDAG_TEST_PROJECT and PYDAG_TEST_BUCKET; see docs/gcp.md"
    ),
]


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one run of this test may use in the project."""

    project: str
    dataset: str
    input: str


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A dataset and an object of our own; afterwards they are gone, and so is the cluster."""
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import Client as BigQuery
    from google.cloud.dataproc_v1 import ClusterControllerClient
    from google.cloud.storage import Client as Storage

    assert PROJECT is not None
    assert BUCKET is not None
    if "GOOGLE_APPLICATION_CREDENTIALS" in ENVIRONMENT:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", ENVIRONMENT["GOOGLE_APPLICATION_CREDENTIALS"])
    name = f"pydag_smoke_{uuid.uuid4().hex[:12]}"
    region, cluster = CLUSTER
    bigquery, blob = BigQuery(project=PROJECT), Storage(project=PROJECT).bucket(BUCKET).blob(f"{name}/test.csv")
    clusters = ClusterControllerClient(client_options={"api_endpoint": f"{region}-dataproc.googleapis.com:443"})
    named = {"project_id": PROJECT, "region": region, "cluster_name": cluster}
    with pytest.raises(NotFound):  # one that is there already is not ours to delete
        clusters.get_cluster(request=named)
    with contextlib.ExitStack() as afterwards:
        afterwards.enter_context(contextlib.suppress(NotFound))
        afterwards.callback(lambda: clusters.delete_cluster(request=named).result(timeout=600))
        bigquery.create_dataset(name)
        afterwards.callback(bigquery.delete_dataset, name, delete_contents=True)
        blob.upload_from_filename(str(SAMPLE))
        afterwards.callback(blob.delete)
        yield Place(project=PROJECT, dataset=name, input=f"gs://{BUCKET}/{name}/test.csv")


def test_the_sample_becomes_the_fact_table(place: Place, tmp_path: Path) -> None:
    from google.cloud.bigquery import Client

    # When the pipeline runs on the project, exactly as it runs on the local cloud
    pydag = str(Path(sys.executable).with_name("pydag"))
    given = ("--param", f"input={place.input}", "--param", f"dataset={place.dataset}", "--target", place.project)
    ended = subprocess.run(
        [pydag, "run", str(PIPELINES / "staging_to_fact.py"), *given, "--json"],
        env={**ENVIRONMENT, "PYDAG_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )

    # Then BigQuery holds the rows that an independent script computes
    assert json.loads(ended.stdout)["state"] == "success"
    expected = runpy.run_path(str(PIPELINES / "expected_fact.py"))["fact_rows"](SAMPLE)
    found = Client(project=place.project).list_rows(f"{place.project}.{place.dataset}.mytable3")
    assert Counter(row.values() for row in found) == Counter(expected)
