"""What a cluster is asked to be: checked, completed as Dataproc does, and what of it no local cluster does.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#google.cloud.dataproc.v1.Cluster
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.cloud import dataproc_v1
from google.protobuf import duration_pb2, timestamp_pb2

from pydag_gcp.local import rpc
from pydag_gcp.local.storage.objects import BucketExists, BucketNotFound, Objects

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,49}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_MOST_LABELS = 32

_DAYS_14 = 14 * 24 * 3600.0
_IDLE_TTL = (300.0, _DAYS_14)
_AGE_TTL = (600.0, _DAYS_14)


def check(cluster: dataproc_v1.Cluster, *, project: str) -> None:
    """Refuse what Dataproc would refuse, and by name what no local cluster can be.

    Raises:
        RpcError: INVALID_ARGUMENT or UNIMPLEMENTED.
    """
    if not _NAME.fullmatch(cluster.cluster_name):
        raise rpc.invalid_argument(
            f"Invalid cluster name '{cluster.cluster_name}': expected at most 51 lowercase letters, numbers and"
            " hyphens, a letter first and no hyphen last"
        )
    if cluster.project_id not in ("", project):
        raise rpc.invalid_argument(f"Cluster is in project '{cluster.project_id}', the request in '{project}'")
    if "virtual_cluster_config" in cluster:
        raise rpc.unimplemented("The local cloud has no clusters on GKE: virtual_cluster_config")
    check_labels(dict(cluster.labels))
    lifecycle = _lifecycle(cluster)
    for name in ("idle_stop_ttl", "auto_stop_time", "auto_stop_ttl"):
        if lifecycle.HasField(name):
            raise rpc.unimplemented(f"The local cloud does not stop clusters: lifecycle_config.{name}")
    if lifecycle.HasField("idle_delete_ttl"):
        _check_ttl("idle_delete_ttl", _seconds(lifecycle.idle_delete_ttl), _IDLE_TTL)
    if lifecycle.HasField("auto_delete_ttl"):
        _check_ttl("auto_delete_ttl", _seconds(lifecycle.auto_delete_ttl), _AGE_TTL)


def _check_ttl(name: str, seconds: float, limits: tuple[float, float]) -> None:
    least, most = limits
    if not least <= seconds <= most:
        raise rpc.invalid_argument(
            f"lifecycle_config.{name} must be from {least:.0f} to {most:.0f} seconds, got {seconds:.0f}"
        )


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that Dataproc would refuse.

    Raises:
        RpcError: INVALID_ARGUMENT.
    """
    if len(labels) > _MOST_LABELS:
        raise rpc.invalid_argument(f"{len(labels)} labels are more than {_MOST_LABELS}")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise rpc.invalid_argument(
                f"Invalid label '{key}={value}': expected at most 63 lowercase letters, numbers, _ and -"
            )


def completed(
    asked: dataproc_v1.Cluster, *, project: str, region: str, cluster_uuid: str, objects: Objects
) -> dataproc_v1.Cluster:
    """Fill in what Dataproc fills in: buckets (created if need be), labels, the UUID.

    Raises:
        RpcError: INVALID_ARGUMENT: a bucket that was named does not exist.
    """
    cluster = dataproc_v1.Cluster(asked)
    cluster.project_id = project
    cluster.cluster_uuid = cluster_uuid
    config = cluster.config
    config.config_bucket = _bucket(objects, config.config_bucket, f"dataproc-staging-{project}", project)
    config.temp_bucket = _bucket(objects, config.temp_bucket, f"dataproc-temp-{project}", project)
    cluster.labels = {
        **cluster.labels,
        "goog-dataproc-cluster-name": cluster.cluster_name,
        "goog-dataproc-cluster-uuid": cluster_uuid,
        "goog-dataproc-location": region,
    }
    return cluster


def _bucket(objects: Objects, named: str, default: str, project: str) -> str:
    if named:
        try:
            objects.bucket(named)
        except BucketNotFound:
            raise rpc.invalid_argument(f"Google Cloud Storage bucket does not exist '{named}'.") from None
        return named
    try:
        objects.create_bucket(default, project=project)
    except BucketExists:
        return default
    return default


def own_labels(cluster: dataproc_v1.Cluster) -> dict[str, str]:
    """Return the labels that Dataproc itself put on a cluster."""
    return {key: value for key, value in cluster.labels.items() if key.startswith("goog-dataproc-")}


def spark_properties(cluster: dataproc_v1.Cluster) -> dict[str, str]:
    """Return the Spark properties among a cluster's software properties (``spark:spark.x``)."""
    properties = cluster.config.software_config.properties
    prefix = "spark:"
    return {key.removeprefix(prefix): value for key, value in properties.items() if key.startswith(prefix)}


def not_done(cluster: dataproc_v1.Cluster) -> list[str]:
    """Name what was asked for and a local cluster does without."""
    actions = [action.executable_file for action in cluster.config.initialization_actions]
    warnings = [f"The local cloud does not run initialization actions: {action}" for action in actions]
    others = [name for name in cluster.config.software_config.properties if not name.startswith("spark:")]
    if others:
        warnings.append(f"The local cloud applies Spark properties only, not {', '.join(sorted(others))}")
    if cluster.config.software_config.optional_components:
        warnings.append("The local cloud has no optional components")
    return warnings


def is_over(cluster: dataproc_v1.Cluster, *, now: float, idle_since: float | None) -> bool:
    """Tell whether a cluster's lifecycle settings say that it is to be deleted.

    Args:
        cluster: A running cluster.
        now: POSIX time.
        idle_since: When its last job ended; 0 if it had none, None while it has one.
    """
    lifecycle = _lifecycle(cluster)
    first = cluster.status_history[0] if cluster.status_history else cluster.status
    born = posix(first)
    if lifecycle.HasField("auto_delete_time") and now >= lifecycle.auto_delete_time.ToNanoseconds() / 1e9:
        return True
    if lifecycle.HasField("auto_delete_ttl") and now >= born + _seconds(lifecycle.auto_delete_ttl):
        return True
    if not lifecycle.HasField("idle_delete_ttl") or idle_since is None:
        return False
    return now >= max(born, idle_since) + _seconds(lifecycle.idle_delete_ttl)


def _lifecycle(cluster: dataproc_v1.Cluster) -> Any:
    """Return the protobuf message, which keeps durations and "not set" as they are."""
    return dataproc_v1.LifecycleConfig.pb(cluster.config.lifecycle_config)


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def posix(status: dataproc_v1.ClusterStatus | dataproc_v1.JobStatus) -> float:
    """Return when a state was entered, as a POSIX time."""
    return float(type(status).pb(status).state_start_time.ToNanoseconds()) / 1e9


def timestamp(seconds: float) -> timestamp_pb2.Timestamp:
    """Make a protobuf timestamp of a POSIX time."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp
