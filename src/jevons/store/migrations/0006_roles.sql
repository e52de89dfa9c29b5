-- Who may look at the dashboard, and who may change things there; and who is signed in.

ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT '';  -- '' (calls only) | viewer (looks only) | admin (all)

CREATE TABLE sessions (
    digest BLOB NOT NULL PRIMARY KEY,   -- SHA-256 of the cookie, which is nowhere
    key_id TEXT NOT NULL,
    csrf TEXT NOT NULL,
    expires REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_expires ON sessions (expires);
