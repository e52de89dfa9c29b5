-- Plans and customers as their own documents, and who changed what. docs/plans.md explains the fields.

CREATE TABLE plans (
    kind TEXT NOT NULL,                 -- plan | customer
    name TEXT NOT NULL,
    body TEXT NOT NULL,                 -- JSON
    changed INTEGER NOT NULL,           -- from counters: what a gateway polls for
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX plans_changed ON plans (changed);

CREATE TABLE audit (
    number INTEGER NOT NULL PRIMARY KEY,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    before TEXT NOT NULL,               -- JSON; '' for something new
    after TEXT NOT NULL                 -- JSON; '' for something removed
) STRICT;

INSERT INTO counters (name, next) VALUES ('plan', 1), ('audit', 1);
