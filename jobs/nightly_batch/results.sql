-- Where the results go. Each row names the run that wrote it.
CREATE TABLE IF NOT EXISTS daily_sales (
  day TEXT NOT NULL,
  region TEXT NOT NULL,
  product TEXT NOT NULL,
  orders INTEGER NOT NULL,
  revenue NUMERIC(14, 2) CONSTRAINT every_currency_has_a_rate CHECK (revenue IS NOT NULL),
  run TEXT NOT NULL,
  PRIMARY KEY (day, region, product)
);
CREATE TABLE IF NOT EXISTS daily_totals (
  day TEXT PRIMARY KEY,
  regions INTEGER NOT NULL,
  orders INTEGER NOT NULL,
  revenue NUMERIC(14, 2) NOT NULL,
  run TEXT NOT NULL
);
