-- What the semantic cache keeps: answered questions by tenant and policy, what was learned, and who may write it.

CREATE TABLE semantic_entries (
    seq INTEGER PRIMARY KEY,            -- in the order of their coming
    tenant TEXT NOT NULL,
    policy TEXT NOT NULL,               -- level/unit, like 0.01/request: nothing is shared between policies
    namespace TEXT NOT NULL,            -- digest of the request with its question blanked out
    digest BLOB NOT NULL,               -- of the text
    text TEXT NOT NULL,
    answer TEXT NOT NULL,               -- the form in which answers are compared
    operation TEXT NOT NULL,            -- whose answer it is
    vector BLOB NOT NULL,               -- float32
    words_vector BLOB NOT NULL,
    reply BLOB NOT NULL,                -- the whole answer: msgpack, compressed
    at REAL NOT NULL
) STRICT;

CREATE UNIQUE INDEX semantic_entries_text ON semantic_entries (tenant, policy, namespace, digest);
CREATE INDEX semantic_entries_operation ON semantic_entries (operation);
CREATE INDEX semantic_entries_at ON semantic_entries (at);

CREATE TABLE semantic_states (
    tenant TEXT NOT NULL,
    policy TEXT NOT NULL,
    body BLOB NOT NULL,                 -- the gate, the verifier and the words' record: msgpack, compressed
    at REAL NOT NULL,
    PRIMARY KEY (tenant, policy)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until REAL NOT NULL
) STRICT, WITHOUT ROWID;
