CREATE TABLE IF NOT EXISTS {{ table }} (
  {{ columns | raw }}
)
PARTITION BY {{ partition_column | ident }}
CLUSTER BY {{ cluster_columns | csv }}
