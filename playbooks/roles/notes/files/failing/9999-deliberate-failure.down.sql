ALTER TABLE notes DROP COLUMN importance;
