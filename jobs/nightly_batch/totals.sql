-- The day as a whole, from the partitions that this run brought in: what an earlier run left of a region is not counted as today's.
DELETE FROM daily_totals WHERE day = :day;
INSERT INTO daily_totals (day, regions, orders, revenue, run)
SELECT day, COUNT(DISTINCT region), SUM(orders), ROUND(SUM(revenue), 2), run
FROM daily_sales
WHERE day = :day AND run = :run
GROUP BY day, run;
SELECT region, product, orders, revenue FROM daily_sales WHERE day = :day AND run = :run ORDER BY region, product;
