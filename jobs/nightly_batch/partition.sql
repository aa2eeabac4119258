-- The sales of one region on one day, in euros; a second run replaces what the first one wrote.
DELETE FROM daily_sales WHERE day = :day AND region = :region;
INSERT INTO daily_sales (day, region, product, orders, revenue, run)
SELECT
  orders.day,
  orders.region,
  orders.product,
  COUNT(*),
  -- An order in a currency without a rate makes the sum unknown, not smaller; the table then refuses it.
  CASE WHEN COUNT(rates.euros) = COUNT(*) THEN ROUND(SUM(orders.amount * rates.euros), 2) END,
  :run
FROM orders LEFT JOIN rates ON rates.currency = orders.currency
WHERE orders.day = :day AND orders.region = :region
GROUP BY orders.day, orders.region, orders.product;
