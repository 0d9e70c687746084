"""The embedded local cloud: Google's services behind Google's own APIs, in one loopback process.

The process:

- ``daemon`` is the clients' side: it starts, finds and stops the process; ``seeds`` copies sample buckets into it.
- ``server`` is the process's own main: it assembles the services and says where they are.
- ``serving`` and ``http`` carry the JSON APIs, ``rpc`` the gRPC ones; ``faults`` makes either misbehave on request.

What it serves, one package each; every package's docstring says how a request goes through it:

- ``storage``: Cloud Storage, buckets and objects as plain files. The other two services read and write them.
- ``googlesql``: GoogleSQL to DuckDB's SQL; it knows no service and stores nothing.
- ``bigquery``: BigQuery, jobs and tables on one DuckDB database; its queries go through ``googlesql``.
- ``dataproc``: Dataproc, clusters that are one warm Spark each.
- ``secretmanager``: Secret Manager, secrets in files that only their owner may read; on Dataproc's port.
"""
