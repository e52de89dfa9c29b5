-- The ledger as a star: what repeats (who called, what was burned at which price, which task) is written once and
-- pointed at, so that a call takes about 220 bytes, its indexes and sums included. docs/ledger.md explains every column.
-- Money: nano-dollars. Rates: pico-dollars a token. Times: Unix seconds, UTC. 0 and 1 for false and true.

CREATE TABLE migrations (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    applied REAL NOT NULL
) STRICT;

CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, next) VALUES ('operation', 1), ('key', 1);

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,        -- SHA-256 of the secret, which is nowhere
    prefix TEXT NOT NULL,
    customer TEXT NOT NULL,
    plan TEXT NOT NULL,
    created REAL NOT NULL,
    revoked REAL,
    changed INTEGER NOT NULL            -- from counters: what a gateway polls for
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_changed ON keys (changed);

CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    customer TEXT NOT NULL,
    plan TEXT NOT NULL,
    key_id TEXT NOT NULL,
    site TEXT NOT NULL,
    surface TEXT NOT NULL,
    model TEXT NOT NULL,
    served_model TEXT NOT NULL,
    UNIQUE (tenant, customer, plan, key_id, site, surface, model, served_model)
) STRICT;

CREATE TABLE tariffs (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    role TEXT NOT NULL,
    tier TEXT NOT NULL,
    usage_source TEXT NOT NULL,
    cost_source TEXT NOT NULL,
    price_version TEXT NOT NULL,
    rates TEXT NOT NULL,                -- JSON by usage field; '' when there are none. A row never changes
    UNIQUE (provider, model, role, tier, usage_source, cost_source, price_version, rates)
) STRICT;

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    task TEXT NOT NULL,
    source TEXT NOT NULL,
    parent TEXT NOT NULL,
    name TEXT NOT NULL,
    customer TEXT NOT NULL,
    plan TEXT NOT NULL,
    arm TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL NOT NULL,
    calls INTEGER NOT NULL,             -- from here on the measures that rollups have too
    errors INTEGER NOT NULL,
    hits INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL,
    compared INTEGER NOT NULL,
    compared_cost_nano INTEGER NOT NULL,
    baseline_nano INTEGER NOT NULL,
    duration_s REAL NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    UNIQUE (tenant, task)
) STRICT;

CREATE INDEX tasks_started ON tasks (started);

CREATE TABLE operations (
    seq INTEGER NOT NULL PRIMARY KEY,   -- from counters, in the order of commits
    operation TEXT NOT NULL UNIQUE,
    series INTEGER NOT NULL REFERENCES series (id),
    task INTEGER REFERENCES tasks (id),
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    started REAL NOT NULL,
    duration_s REAL NOT NULL,
    stream INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    cache TEXT NOT NULL,
    arm TEXT NOT NULL,
    cost_nano INTEGER,                  -- NULL: unpriced, which is never zero
    baseline_nano INTEGER,
    levers TEXT                         -- JSON, for `jevons explain`
) STRICT;

CREATE INDEX operations_task ON operations (task);

CREATE TABLE attempts (
    operation INTEGER NOT NULL REFERENCES operations (seq) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    tariff INTEGER NOT NULL REFERENCES tariffs (id),
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    started REAL NOT NULL,
    duration_s REAL NOT NULL,
    first_byte_s REAL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_nano INTEGER,
    PRIMARY KEY (operation, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollups (
    grain INTEGER NOT NULL,             -- seconds: 60, 3600, 86400
    bucket INTEGER NOT NULL,            -- Unix seconds at which the bucket starts
    series INTEGER NOT NULL REFERENCES series (id),
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    hits INTEGER NOT NULL,              -- served by a cache or joined to a call in flight
    unpriced INTEGER NOT NULL,          -- operations whose cost is not known, so not in cost_nano
    cost_nano INTEGER NOT NULL,
    compared INTEGER NOT NULL,          -- operations that have both a cost and a baseline
    compared_cost_nano INTEGER NOT NULL,
    baseline_nano INTEGER NOT NULL,
    duration_s REAL NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    PRIMARY KEY (grain, bucket, series)
) STRICT, WITHOUT ROWID;

CREATE TABLE rejected (
    operation TEXT NOT NULL PRIMARY KEY,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL                  -- the operation as JSON: what the database would not take as a row
) STRICT;
