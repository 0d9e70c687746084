"""Gives every test the fixture ``local_cloud``."""

pytest_plugins = ["pydag_gcp.testing"]
