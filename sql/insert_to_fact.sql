SELECT id, category, lastdate FROM {{ table1 }}
UNION ALL
SELECT id, category, lastdate FROM {{ table2 }}
