"""Modules that a local Spark driver finds on its ``PYTHONPATH``; never imported from here."""
