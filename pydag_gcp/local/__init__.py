"""The embedded local cloud: Cloud Storage, BigQuery and Dataproc behind Google's own APIs, in one loopback process."""
