-- The one chain of receipts. `boot` tells a start of the program from a start of the machine.
CREATE TABLE chain (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL,
    previous BLOB NOT NULL,
    reserved INTEGER NOT NULL,
    boot TEXT NOT NULL
);

-- A lease that was taken. It has a result once it was executed, and an outcome once it is over; between the two, what the coordinator
-- is to get: the encoded `Reveal`, and the output or the name of the blob with it. There are no indexes, which would cost more than all else:
-- the program knows the number of every lease.
CREATE TABLE lease (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    coordinator BLOB NOT NULL,
    job BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL,
    result BLOB,
    sequence INTEGER,
    reveal BLOB,
    output BLOB,
    blob BLOB,
    length INTEGER,
    ended_ms INTEGER,
    outcome TEXT
);
