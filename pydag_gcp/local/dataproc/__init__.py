"""Dataproc: clusters, jobs and operations over gRPC, and a real Spark below them; ``service`` assembles it.

A cluster arrives at ``clusters``, is checked and completed by ``cluster_config``, and gets a ``spark``: a ``jvm`` on a
``java``, and driver processes that find ``spark_modules`` on their path. What takes long is one of ``operations``.
A job arrives at ``jobs`` and waits for its cluster; ``work`` checks it and fetches its files, ``spark`` runs it,
``driver_output`` finds the reason of a failure, and ``job_operations`` end with the jobs that were submitted as such.
``records`` keeps all of them on disk; ``listing`` filters and pages them.
"""
