-- Orders of three days in five regions, for a trial. Leaves alone a database that has orders already.
-- Runs on SQLite and on PostgreSQL.
CREATE TABLE IF NOT EXISTS orders (
  day TEXT NOT NULL,
  number INTEGER NOT NULL,
  region TEXT NOT NULL,
  product TEXT NOT NULL,
  amount NUMERIC(12, 2) NOT NULL,
  currency TEXT NOT NULL,
  PRIMARY KEY (day, number)
);
CREATE TABLE IF NOT EXISTS rates (currency TEXT PRIMARY KEY, euros NUMERIC(12, 6) NOT NULL);
INSERT INTO rates
SELECT currency, euros
FROM (SELECT 'EUR' AS currency, 1.0 AS euros UNION ALL SELECT 'GBP', 1.17 UNION ALL SELECT 'CHF', 1.05) AS known
WHERE NOT EXISTS (SELECT 1 FROM orders);
INSERT INTO orders
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 400)
SELECT
  day,
  n,
  CASE n % 10 WHEN 0 THEN 'north' WHEN 1 THEN 'north' WHEN 2 THEN 'south' WHEN 3 THEN 'east' WHEN 4 THEN 'east' WHEN 5 THEN 'east'
    WHEN 6 THEN 'west' ELSE 'centre' END,
  CASE n % 7 WHEN 0 THEN 'gloves' WHEN 1 THEN 'hammers' WHEN 2 THEN 'hammers' WHEN 3 THEN 'chisels' ELSE 'lines' END,
  5 + n * 37 % 90,
  CASE n % 10 WHEN 0 THEN 'GBP' WHEN 6 THEN 'CHF' ELSE 'EUR' END
FROM numbers CROSS JOIN (SELECT '2026-01-05' AS day UNION ALL SELECT '2026-01-06' UNION ALL SELECT '2026-01-07') AS days
WHERE NOT EXISTS (SELECT 1 FROM orders);
