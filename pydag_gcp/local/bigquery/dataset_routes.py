"""The ``datasets`` and ``projects`` methods of BigQuery's REST API.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from werkzeug.wrappers import Request

from pydag_gcp.local.bigquery.catalogue import AlreadyExists, Catalogue, Dataset, DatasetName, NotFound
from pydag_gcp.local.bigquery.resources import dataset_body, dataset_to_api, dataset_to_list, etag, patched
from pydag_gcp.local.bigquery.results import flag, start_of, token_of, whole
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.http import Api, ApiError, json_body

_Item = TypeVar("_Item")
_DATASET_ID = re.compile(r"\w{1,1024}", re.ASCII)


@contextmanager
def rest_errors() -> Iterator[None]:
    """Turn the catalogue's errors into answers.

    Raises:
        ApiError: Instead of them.
    """
    try:
        yield
    except NotFound as error:
        raise ApiError(404, "notFound", str(error)) from None
    except AlreadyExists as error:
        raise ApiError(409, "duplicate", str(error)) from None


def check_etag(request: Request, present: str) -> None:
    """Refuse a change of a resource that is no longer what its caller saw.

    Raises:
        ApiError: 412.
    """
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted.strip('"') not in (present, "*"):
        raise ApiError(
            412, "conditionNotMet", "Precondition check failed.", location="If-Match", location_type="header"
        )


class DatasetRoutes:
    """Answers the ``datasets`` and ``projects`` methods.

    Args:
        warehouse: Where the datasets are.
        location: Where datasets are made that do not say.
    """

    def __init__(self, warehouse: Warehouse, location: str) -> None:
        self._warehouse = warehouse
        self._location = location

    def register(self, api: Api) -> None:
        """Add the routes."""
        projects = "/bigquery/v2/projects"
        base = f"{projects}/<project>/datasets"
        for method, verb, rule, handler in (
            ("projects.list", "GET", projects, self.projects),
            ("projects.getServiceAccount", "GET", f"{projects}/<project>/serviceAccount", self.service_account),
            ("datasets.insert", "POST", base, self.insert),
            ("datasets.list", "GET", base, self.list),
            ("datasets.get", "GET", f"{base}/<dataset>", self.get),
            ("datasets.patch", "PATCH", f"{base}/<dataset>", self.patch),
            ("datasets.update", "PUT", f"{base}/<dataset>", self.update),
            ("datasets.delete", "DELETE", f"{base}/<dataset>", self.delete),
        ):
            api.route(f"bigquery.{method}", verb, rule)(handler)

    @contextmanager
    def _writing(self, name: DatasetName) -> Iterator[Catalogue]:
        with rest_errors(), self._warehouse.writing(exclusive={str(name)}) as connection:
            yield Catalogue(connection, self._warehouse.clock)

    def projects(self, request: Request) -> Mapping[str, Any]:
        """List the projects that have datasets."""
        sql = "SELECT DISTINCT project FROM pydag.datasets ORDER BY project"
        with self._warehouse.reading() as connection:
            found = [row[0] for row in connection.execute(sql).fetchall()]
        projects = [
            {
                "kind": "bigquery#project",
                "id": project,
                "numericId": "0",
                "projectReference": {"projectId": project},
                "friendlyName": project,
            }
            for project in found
        ]
        return {"kind": "bigquery#projectList", "projects": projects, "totalItems": len(projects)}

    def service_account(self, request: Request, project: str) -> Mapping[str, Any]:
        """Return the account that would encrypt tables."""
        email = f"bq-local@{project}.iam.gserviceaccount.com"
        return {"kind": "bigquery#getServiceAccountResponse", "email": email}

    def insert(self, request: Request, project: str) -> Mapping[str, Any]:
        """Make a dataset."""
        resource = json_body(request)
        dataset_id = str((resource.get("datasetReference") or {}).get("datasetId") or "")
        if not _DATASET_ID.fullmatch(dataset_id):
            message = (
                f'Invalid dataset ID "{dataset_id}". Dataset IDs must be alphanumeric (plus underscores) and must be '
                "at most 1024 characters long."
            )
            raise ApiError(400, "invalid", message)
        name = DatasetName(project=project, dataset=dataset_id)
        body = dataset_body(resource, self._location)
        with self._writing(name) as catalogue:
            return dataset_to_api(catalogue.create_dataset(name, body))

    def list(self, request: Request, project: str) -> Mapping[str, Any]:
        """List datasets."""
        with self._warehouse.reading() as connection:
            catalogue = Catalogue(connection, self._warehouse.clock)
            found = catalogue.datasets(project, hidden=flag(request.args.get("all")))
        kept = [dataset for dataset in found if _has_labels(dataset, request.args.get("filter"))]
        shown, rest = page_of(kept, request)
        return {"kind": "bigquery#datasetList", "datasets": [dataset_to_list(dataset) for dataset in shown], **rest}

    def get(self, request: Request, project: str, dataset: str) -> Mapping[str, Any]:
        """Return a dataset."""
        with rest_errors(), self._warehouse.reading() as connection:
            catalogue = Catalogue(connection, self._warehouse.clock)
            return dataset_to_api(catalogue.dataset(DatasetName(project=project, dataset=dataset)))

    def patch(self, request: Request, project: str, dataset: str) -> Mapping[str, Any]:
        """Change some properties of a dataset."""
        return self._change(request, DatasetName(project=project, dataset=dataset), keep=True)

    def update(self, request: Request, project: str, dataset: str) -> Mapping[str, Any]:
        """Replace all properties of a dataset."""
        return self._change(request, DatasetName(project=project, dataset=dataset), keep=False)

    def _change(self, request: Request, name: DatasetName, *, keep: bool) -> Mapping[str, Any]:
        resource = json_body(request)
        with self._writing(name) as catalogue:
            present = catalogue.dataset(name)
            check_etag(request, etag(present))
            merged = patched(present.body, resource) if keep else resource
            body = dataset_body(merged, present.location)
            if body["location"] != present.location:
                raise ApiError(400, "invalid", f"Cannot change the location of dataset {name}")
            return dataset_to_api(catalogue.change_dataset(present, body))

    def delete(self, request: Request, project: str, dataset: str) -> None:
        """Delete a dataset, with its tables only if ``deleteContents``."""
        name = DatasetName(project=project, dataset=dataset)
        with self._writing(name) as catalogue:
            catalogue.dataset(name)
            if catalogue.tables(name) and not flag(request.args.get("deleteContents")):
                raise ApiError(400, "resourceInUse", f"Dataset {name} is still in use")
            catalogue.drop_dataset(name)


def page_of(items: list[_Item], request: Request) -> tuple[list[_Item], Mapping[str, Any]]:
    """Return the page of a list that a request asks for, and the token of the next one if there is one."""
    token = request.args.get("pageToken")
    start = start_of(token) if token else 0
    limit = whole(request.args.get("maxResults"), "maxResults")
    end = len(items) if limit is None else start + limit
    return items[start:end], {"nextPageToken": token_of(end)} if end < len(items) else {}


def _has_labels(dataset: Dataset, text: str | None) -> bool:
    """Tell whether a dataset has what ``labels.key:value labels.other`` asks for."""
    labels: Mapping[str, str] = dataset.body.get("labels", {})
    for part in (text or "").split():
        key, colon, value = part.removeprefix("labels.").partition(":")
        if not part.startswith("labels."):
            raise ApiError(
                400, "invalid", f"Invalid filter: {part}; it has the form labels.key:value", location="filter"
            )
        if key not in labels or (colon and labels[key] != value):
            return False
    return True
