INSERT INTO {project}.{dataset}.{tabledestination} (id, category, lastdate)
SELECT id, category, lastdate
FROM {project}.{dataset}.{tablesource}
WHERE EXTRACT(YEAR FROM lastdate) = {year} AND category = '{category}'
