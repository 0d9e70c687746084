-- What the local BigQuery keeps beside the rows of its tables (schema data).
-- No indexes on purpose: a few thousand rows are scanned in under a millisecond, and an update never meets an index.
CREATE SCHEMA IF NOT EXISTS pydag;
CREATE SCHEMA IF NOT EXISTS data;
CREATE SEQUENCE IF NOT EXISTS pydag.storage_number;

CREATE TABLE IF NOT EXISTS pydag.datasets (
    project VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    body VARCHAR NOT NULL,        -- JSON: what its users set
    hidden BOOLEAN NOT NULL,      -- holds anonymous query results
    created BIGINT NOT NULL,      -- times are milliseconds since the epoch
    modified BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS pydag.tables (
    project VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,        -- TABLE or VIEW
    storage VARCHAR,              -- the DuckDB table in schema data; a replaced table gets a new one
    body VARCHAR NOT NULL,        -- JSON: what its users set, schema included
    created BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    expires BIGINT
);

CREATE TABLE IF NOT EXISTS pydag.jobs (
    project VARCHAR NOT NULL,
    location VARCHAR NOT NULL,
    job_id VARCHAR NOT NULL,
    request_id VARCHAR,           -- jobs.query: the caller's idempotency key
    parent VARCHAR,               -- the script a child job belongs to
    state VARCHAR NOT NULL,       -- PENDING or DONE; RUNNING is never durable
    configuration VARCHAR NOT NULL,  -- JSON, as the job resource echoes it
    upload VARCHAR,               -- a load's uploaded file in the spool
    progress INTEGER NOT NULL,    -- how many of its steps are committed
    statistics VARCHAR NOT NULL,  -- JSON, of those steps
    errors VARCHAR,               -- JSON: the errors[] of a job that failed
    created BIGINT NOT NULL,
    started BIGINT,
    ended BIGINT
);

-- insertAll: row ids seen in the last minutes, per storage table.
CREATE TABLE IF NOT EXISTS pydag.insert_ids (
    storage VARCHAR NOT NULL,
    insert_id VARCHAR NOT NULL,
    seen BIGINT NOT NULL
);
