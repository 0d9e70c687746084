create or replace table {project}.{dataset}.{table} ({columns})
partition by {partitioncolumn}
cluster by {clustercolumn};
