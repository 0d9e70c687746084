"""Datasets and tables as REST resources: what their users may set, what the service answers.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets and .../rest/v2/tables.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydag_gcp.local.bigquery.catalogue import Dataset, Table
from pydag_gcp.local.bigquery.partitions import check_partitioning
from pydag_gcp.local.bigquery.schemas import read_schema, schema_to_api
from pydag_gcp.local.http import ApiError, not_implemented

_DATASET_SET = frozenset({
    "access", "defaultTableExpirationMs", "description", "friendlyName", "labels",
    "location", "maxTimeTravelHours", "storageBillingModel",
})  # fmt: skip
_DATASET_REFUSED = frozenset({
    "defaultCollation", "defaultEncryptionConfiguration", "defaultPartitionExpirationMs", "defaultRoundingMode",
    "externalCatalogDatasetOptions", "externalDatasetReference", "isCaseInsensitive", "linkedDatasetSource",
    "resourceTags",
})  # fmt: skip
_TABLE_SET = frozenset({
    "clustering", "description", "expirationTime", "friendlyName", "labels", "rangePartitioning",
    "requirePartitionFilter", "schema", "timePartitioning", "view",
})  # fmt: skip
_TABLE_REFUSED = frozenset({
    "biglakeConfiguration", "defaultCollation", "defaultRoundingMode", "encryptionConfiguration",
    "externalCatalogTableOptions", "externalDataConfiguration", "materializedView", "maxStaleness", "model",
    "partitionDefinition", "resourceTags", "snapshotDefinition", "cloneDefinition", "tableConstraints",
    "tableReplicationInfo",
})  # fmt: skip


def dataset_body(resource: Mapping[str, Any], location: str) -> dict[str, Any]:
    """Return what is kept of a Dataset that a user sends.

    Raises:
        ApiError: It sets what the local cloud does not do, or sets it wrongly.
    """
    body = _kept(resource, _DATASET_SET, _DATASET_REFUSED, "datasets")
    body["location"] = str(body.get("location") or location)
    if body["location"].lower() in ("us", "eu"):
        body["location"] = body["location"].upper()
    _check_labels(body)
    return body


def table_body(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a Table that a user sends.

    Raises:
        ApiError: It sets what the local cloud does not do, or sets it wrongly.
    """
    body = _kept(resource, _TABLE_SET, _TABLE_REFUSED, "tables")
    fields = read_schema(body.get("schema"))
    if "schema" in body:
        body["schema"] = schema_to_api(fields)
    check_partitioning(body, fields)
    if "view" in body and body["view"].get("useLegacySql", True):
        raise not_implemented("legacy SQL in a view (send view.useLegacySql = false)")
    _check_labels(body)
    return body


def patched(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a patch into a resource: null removes, labels go key by key."""
    merged = dict(body)
    for key, value in patch.items():
        if key == "labels" and value is not None:
            labels = {**body.get("labels", {}), **value}
            merged[key] = {name: text for name, text in labels.items() if text is not None}
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _kept(resource: Mapping[str, Any], settable: frozenset[str], refused: frozenset[str], kind: str) -> dict[str, Any]:
    for key in refused:
        if resource.get(key):
            raise not_implemented(f"{key} of {kind}")
    return {key: value for key, value in resource.items() if key in settable and value is not None}


def _check_labels(body: Mapping[str, Any]) -> None:
    check_labels(body.get("labels", {}))


def check_labels(labels: Mapping[str, Any]) -> None:
    """Refuse what BigQuery takes for no label (https://cloud.google.com/bigquery/docs/labels-intro#requirements).

    Raises:
        ApiError: 400, naming the label.
    """
    for key, value in labels.items():
        if not key or len(key) > 63 or not _label_text(key) or not (key[0].isalpha() or key.startswith("goog-")):
            raise ApiError(400, "invalid", f'Label key "{key}" has disallowed characters or length')
        if not isinstance(value, str) or len(value) > 63 or not _label_text(value):
            raise ApiError(400, "invalid", f'Label value "{value}" of key "{key}" has disallowed characters or length')


def _label_text(text: str) -> bool:
    return all((char.isalnum() and char == char.lower()) or char in "_-" for char in text)


def etag(item: Dataset | Table) -> str:
    """Return the text that changes whenever the resource does."""
    text = json.dumps([str(item.name), item.created, item.modified, item.body], sort_keys=True)
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode()


def dataset_to_api(dataset: Dataset) -> dict[str, Any]:
    """Return the Dataset resource."""
    return {
        **dataset_to_list(dataset),
        **dataset.body,
        "etag": etag(dataset),
        "creationTime": str(dataset.created),
        "lastModifiedTime": str(dataset.modified),
        "type": "DEFAULT",
    }


def dataset_to_list(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as datasets.list shows it."""
    name = dataset.name
    shown = {key: dataset.body[key] for key in ("friendlyName", "labels") if key in dataset.body}
    return {
        "kind": "bigquery#dataset",
        "id": str(name),
        "selfLink": f"/bigquery/v2/projects/{name.project}/datasets/{name.dataset}",
        "datasetReference": {"projectId": name.project, "datasetId": name.dataset},
        "location": dataset.location,
        **shown,
    }


def table_to_api(table: Table, location: str, *, rows: int, size: int) -> dict[str, Any]:
    """Return the Table resource.

    Args:
        table: The table.
        location: Its dataset's location.
        rows: How many rows it has.
        size: How many logical bytes they take.
    """
    name = table.name
    resource: dict[str, Any] = {
        **table.body,
        "kind": "bigquery#table",
        "id": str(name),
        "selfLink": f"/bigquery/v2/projects/{name.project}/datasets/{name.dataset}/tables/{name.table}",
        "tableReference": name.to_api(),
        "etag": etag(table),
        "type": table.kind,
        "location": location,
        "creationTime": str(table.created),
        "lastModifiedTime": str(table.modified),
    }
    if table.kind == "TABLE":
        resource |= {
            "schema": table.body.get("schema", {"fields": []}),
            "numRows": str(rows),
            "numBytes": str(size),
            "numLongTermBytes": "0",
            "numTotalLogicalBytes": str(size),
            "numActiveLogicalBytes": str(size),
        }
    if table.expires is not None:
        resource["expirationTime"] = str(table.expires)
    return resource


def table_to_list(table: Table) -> dict[str, Any]:
    """Return a table as tables.list shows it."""
    shown_keys = (
        "clustering",
        "friendlyName",
        "labels",
        "rangePartitioning",
        "requirePartitionFilter",
        "timePartitioning",
    )
    shown = {key: table.body[key] for key in shown_keys if key in table.body}
    if table.kind == "VIEW":
        shown["view"] = {"useLegacySql": False}
    if table.expires is not None:
        shown["expirationTime"] = str(table.expires)
    return {
        "kind": "bigquery#table",
        "id": str(table.name),
        "tableReference": table.name.to_api(),
        "type": table.kind,
        "creationTime": str(table.created),
        **shown,
    }
