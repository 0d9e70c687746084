"""BigQuery: its REST API and its Storage Read API over one DuckDB database; ``service`` assembles it.

A job arrives at ``job_routes`` (files: ``job_uploads``); ``job_requests`` checks it into a ``job``; ``jobs`` stores it
(``job_store``) and runs its steps. They are of ``query`` (``statements``, ``definitions``, ``names``), ``loads``
(``load_sources``, ``csv_*``, ``json_*``, ``parquet_loads``, ``avro_loads``, ``text_values``), ``extracts``
(``exports``, ``export_formats``) or ``copies``, and put rows into ``destinations``; ``results`` pages them.
``dataset_routes`` and ``table_routes`` (``streaming``) show the ``catalogue`` as ``resources``; it has ``schemas``,
``partitions``, ``sizes``. ``read_api`` reads tables as ``arrow``. Below all is the ``warehouse``, with its ``locks``.
"""
