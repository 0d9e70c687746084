INSERT INTO {project}.{dataset}.{tablefinal} (id, category, lastdate)
SELECT id, category, lastdate FROM {project}.{dataset}.{table1}
UNION ALL
SELECT id, category, lastdate FROM {project}.{dataset}.{table2}
