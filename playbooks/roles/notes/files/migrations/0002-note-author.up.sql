-- Who wrote a note. Older notes have no known author.
ALTER TABLE notes ADD COLUMN author text NOT NULL DEFAULT 'unknown';
