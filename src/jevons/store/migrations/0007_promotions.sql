-- Candidates for promotion by call site: their whole state, changed by one transaction at a time. Who changed a stage, with
-- which evidence, stands in `audit` (kind promotion).

CREATE TABLE promotions (
    tenant TEXT NOT NULL,
    site TEXT NOT NULL,
    incumbent TEXT NOT NULL,            -- public names of models
    model TEXT NOT NULL,
    body TEXT NOT NULL,                 -- JSON
    changed INTEGER NOT NULL,           -- from counters: what a gateway polls for
    PRIMARY KEY (tenant, site, incumbent, model)
) STRICT, WITHOUT ROWID;

CREATE INDEX promotions_changed ON promotions (changed);

INSERT INTO counters (name, next) VALUES ('promotion', 1);
