SELECT id, category, lastdate
FROM {{ source }}
WHERE EXTRACT(YEAR FROM lastdate) = @year
  AND category = @category
