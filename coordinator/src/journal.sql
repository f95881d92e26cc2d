-- A job from the moment its client hears that it is accepted until the client has everything. What the client is told, as encoded
-- events, and the output or the name of the blob with it, are there once the job is over; until then, its spec and the leases that a node has accepted.
-- There are no indexes, which would cost more than all else: the program knows the number of every job.
CREATE TABLE job (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    spec BLOB,
    leases BLOB,
    told BLOB,
    output BLOB,
    blob BLOB,
    length INTEGER,
    over_ms INTEGER
);
