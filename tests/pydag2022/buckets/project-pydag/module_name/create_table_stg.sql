create or replace table {project}.{dataset}.{table} ({columns});
