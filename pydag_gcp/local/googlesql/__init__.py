"""GoogleSQL to DuckDB's SQL: everything accepted gives BigQuery's answer, everything else is refused by name.

``syntax`` reads a text into statements. ``translate`` writes a query by ``selects`` (``relations``, ``set_operations``,
``ordering``) and a change of rows by ``dml`` (``storing``); ``ddl`` (``options``) reads definitions as plain data.
Expressions pass ``analyzer``, which finds names in ``scope`` and asks ``expressions``, ``literals`` (``lexical``),
``operators`` or ``calls``: ``functions``, ``moments`` (``timeformats``), ``regexps``, ``aggregates``, ``windows``.
What comes back is ``typed``: SQL and its type, one of ``types`` (written as in ``datatypes``); ``coercion`` changes it.
``wire`` is how values look over REST: parameters on the way in, results on the way out.
"""
