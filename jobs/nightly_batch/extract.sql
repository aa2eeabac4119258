-- One row for each partition of the day: the newest that is over, unless a day was asked for.
SELECT day, region, COUNT(*) AS orders
FROM orders
WHERE day = COALESCE(NULLIF(:day, ''), (SELECT MAX(day) FROM orders WHERE day < :today))
GROUP BY day, region
ORDER BY region;
