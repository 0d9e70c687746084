-- What is known of buckets and objects beside their bytes. A row of `objects` speaks for the file with exactly its
-- modification time, size and inode; while an object is replaced, the old and the new file each have theirs.
CREATE TABLE IF NOT EXISTS buckets (
    name           TEXT PRIMARY KEY,
    project        TEXT,
    created_ns     INTEGER NOT NULL,
    updated_ns     INTEGER NOT NULL,
    metageneration INTEGER NOT NULL,
    floor          INTEGER NOT NULL DEFAULT 0, -- the highest generation of an object deleted from it
    fields         TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS objects (
    bucket         TEXT NOT NULL,
    name           TEXT NOT NULL,
    generation     INTEGER NOT NULL,
    mtime_ns       INTEGER NOT NULL,
    size           INTEGER NOT NULL,
    inode          INTEGER NOT NULL,
    metageneration INTEGER NOT NULL,
    created_ns     INTEGER NOT NULL,
    updated_ns     INTEGER NOT NULL,
    fields         TEXT NOT NULL,
    md5            TEXT,
    crc32c         TEXT,
    PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
