-- What was said of tasks: by their owners over /v1/feedback, and by jevons itself (label loop). docs/tasks.md explains it.

CREATE TABLE outcomes (
    number INTEGER NOT NULL PRIMARY KEY, -- from counters, in the order of commits: what an experiment polls for
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,                   -- the sender's, or a digest of what was said: the same again changes nothing
    task INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    operation TEXT NOT NULL,            -- '' when it is said of the whole task
    solved INTEGER,                     -- 1 yes, 0 no, NULL not said
    score REAL,
    label TEXT NOT NULL,
    at REAL NOT NULL,                   -- when it was so, by the sender's clock, never after `received`
    received REAL NOT NULL,
    UNIQUE (tenant, id)
) STRICT;

CREATE INDEX outcomes_task ON outcomes (task);

INSERT INTO counters (name, next) VALUES ('outcome', 1);
