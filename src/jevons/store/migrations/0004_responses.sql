-- Responses that may be asked for again (`previous_response_id`, GET, DELETE): whose they are, and who holds them.

CREATE TABLE responses (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    provider TEXT NOT NULL,             -- who holds input and output; '' when they are here
    previous TEXT NOT NULL,             -- the response that this one continues; '' when the input is whole
    input BLOB NOT NULL,                -- JSON array of this call's own input items, zlib; empty when a provider holds it
    reply BLOB NOT NULL,                -- the response object as JSON, zlib; empty when a provider holds it
    at REAL NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX responses_at ON responses (at);
