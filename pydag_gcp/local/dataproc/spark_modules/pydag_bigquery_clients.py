"""The Google clients of the ``bigquery`` data source; imported where they are needed, for they are slow to load."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.cloud.bigquery import Client
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient


def bigquery(project: str) -> Client:
    """Make a client of the local BigQuery."""
    from google.cloud.bigquery import Client
    from google.oauth2.credentials import Credentials

    endpoint = {"api_endpoint": os.environ["BIGQUERY_EMULATOR_HOST"]}
    # By this token the local cloud tells the calls of jobs from those of pipelines.
    credentials = Credentials(token="local")  # type: ignore[no-untyped-call]  # noqa: S106 - it opens nothing
    return Client(project=project, credentials=credentials, client_options=endpoint)


def bigquery_storage() -> BigQueryReadClient:
    """Make a client of the local BigQuery Storage Read API."""
    import grpc
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    unlimited = [("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(os.environ["BIGQUERY_STORAGE_EMULATOR_HOST"], options=unlimited)
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
