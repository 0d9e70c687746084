SELECT day, country, COUNT(*) AS orders, SUM(amount) AS amount
FROM {{ orders }}
WHERE amount >= @least
GROUP BY day, country
