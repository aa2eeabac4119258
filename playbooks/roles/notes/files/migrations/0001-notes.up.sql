-- Notes, as the application writes them. Their ids are made by the application, so that one text serves both databases.
CREATE TABLE notes (
    id         text PRIMARY KEY,
    text       text NOT NULL,
    created_at text NOT NULL
);
CREATE INDEX notes_by_time ON notes (created_at);
