-- Added by `fail_migration: true`. Its first statement works; its second is refused by the database, as a note needs a text.
ALTER TABLE notes ADD COLUMN importance integer NOT NULL DEFAULT 0;
INSERT INTO notes (id, text, created_at) VALUES ('deliberate-failure', NULL, '1970-01-01T00:00:00+00:00');
