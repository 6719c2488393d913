-- The embedded engine's tables and statements; `-- name: x` opens a section. A row `(?, …)` after VALUES is repeated
-- by the code for as many rows as there are: one step of SQLite for many rows gives the interpreter lock away once.

-- name: schema
BEGIN IMMEDIATE;
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- How much there is of each kind, so that nobody has to count; `settled` numbers the settlements.
CREATE TABLE tally(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO tally(name, value) VALUES
    ('events', 0), ('waiting', 0), ('finished', 0), ('superseded', 0), ('dead', 0),
    ('callbacks_waiting', 0), ('callbacks_delivered', 0), ('callbacks_dead', 0), ('settled', 0);

-- AUTOINCREMENT, here and below: a number is never used again after a deletion, for tails stand on numbers.
-- `digest` is of the id: ids are long, and this index is written at random places.
CREATE TABLE event(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, id TEXT NOT NULL,
    conversation TEXT NOT NULL, kind TEXT NOT NULL, received_ms INTEGER NOT NULL, stored_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX event_conversation ON event(conversation);

-- `id` is the delivery's place in a tail: the log's order, and behind it what an operator sent again.
CREATE TABLE delivery(
    id INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, handler TEXT NOT NULL, partition INTEGER NOT NULL,
    mode TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0,
    not_before_ms INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', settled_ms INTEGER, settled_as INTEGER,
    UNIQUE (seq, handler)
) STRICT;
CREATE INDEX delivery_waiting ON delivery(partition) WHERE state = 'waiting';
CREATE INDEX delivery_dead ON delivery(seq) WHERE state = 'dead';

CREATE TABLE callback(
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL, key TEXT NOT NULL,
    conversation TEXT NOT NULL, handler TEXT NOT NULL, event TEXT NOT NULL, destination TEXT NOT NULL,
    name TEXT NOT NULL, payload BLOB NOT NULL, partition INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    not_before_ms INTEGER NOT NULL, stored_ms INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    answer TEXT NOT NULL DEFAULT '', settled_ms INTEGER
) STRICT;
CREATE INDEX callback_event ON callback(seq);
CREATE INDEX callback_waiting ON callback(partition) WHERE state = 'waiting';
CREATE INDEX callback_dead ON callback(id) WHERE state = 'dead';

CREATE TABLE record(
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL, key TEXT NOT NULL,
    kind TEXT NOT NULL, conversation TEXT NOT NULL, handler TEXT NOT NULL, event TEXT NOT NULL, state TEXT NOT NULL,
    fields BLOB NOT NULL
) STRICT;
CREATE INDEX record_event ON record(seq);

CREATE TABLE partition(id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL DEFAULT 0, owner TEXT) STRICT;
CREATE TABLE worker(id TEXT PRIMARY KEY, beat INTEGER NOT NULL, lock_path TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE ledger(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, charged INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL DEFAULT 0, touched_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE reservation(
    key TEXT NOT NULL, ledger TEXT NOT NULL, amount INTEGER NOT NULL, partition INTEGER NOT NULL, worker TEXT NOT NULL,
    PRIMARY KEY (key, ledger)
) STRICT, WITHOUT ROWID;

INSERT INTO meta(name, value) VALUES ('partitions', {partitions});
WITH RECURSIVE number(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM number WHERE id + 1 < {partitions})
INSERT INTO partition(id) SELECT id FROM number;
PRAGMA application_id = {application};
PRAGMA user_version = {version};
COMMIT;

-- name: views
-- Rows in the order of the fields of Stored, Delivery, Callback and Record; every connection makes them for itself.
CREATE TEMP VIEW stored AS SELECT seq, id, conversation, kind, body, received_ms FROM main.event;
CREATE TEMP VIEW delivered AS
SELECT d.id AS place, d.seq, e.id, e.conversation, e.kind, e.body, e.received_ms, d.handler, d.mode, d.partition,
       d.attempts, d.not_before_ms, d.state, d.error, d.settled_ms, d.settled_as
FROM main.delivery AS d JOIN main.event AS e ON e.seq = d.seq;
CREATE TEMP VIEW called AS
SELECT id AS place, key, conversation, handler, event, destination, name, payload, partition, attempts, not_before_ms,
       stored_ms, state, answer, settled_ms, seq
FROM main.callback;
CREATE TEMP VIEW recorded AS
SELECT id AS place, key, kind, conversation, handler, event, state, fields, seq FROM main.record;

-- name: append_events
INSERT OR IGNORE INTO event(digest, id, conversation, kind, received_ms, stored_ms, body)
VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING digest, seq

-- name: known_events
SELECT digest, seq FROM event WHERE digest IN (VALUES (?))

-- name: append_deliveries
INSERT INTO delivery(seq, handler, partition, mode) VALUES (?, ?, ?, ?)

-- name: settle_deliveries
-- A settlement as dead is one more failure; parking says itself how many there were.
WITH settled(seq, handler, state, attempts, not_before_ms, error, ms, place) AS (VALUES (?, ?, ?, ?, ?, ?, ?, ?))
UPDATE delivery SET
    state = settled.state, attempts = coalesce(settled.attempts, delivery.attempts + (settled.state = 'dead')),
    not_before_ms = settled.not_before_ms, error = settled.error, settled_ms = settled.ms, settled_as = settled.place
FROM settled
WHERE delivery.seq = settled.seq AND delivery.handler = settled.handler AND delivery.state = 'waiting'
RETURNING seq, handler

-- name: settle_callbacks
WITH settled(digest, state, attempts, not_before_ms, answer, ms) AS (VALUES (?, ?, ?, ?, ?, ?))
UPDATE callback SET
    state = settled.state, attempts = coalesce(settled.attempts, callback.attempts + (settled.state = 'dead')),
    not_before_ms = settled.not_before_ms, answer = settled.answer, settled_ms = settled.ms
FROM settled
WHERE callback.digest = settled.digest AND callback.state = 'waiting'
RETURNING digest

-- name: store_callbacks
INSERT OR IGNORE INTO callback(
    digest, seq, key, conversation, handler, event, destination, name, payload, partition, not_before_ms, stored_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING digest, id

-- name: store_records
INSERT OR IGNORE INTO record(digest, seq, key, kind, conversation, handler, event, state, fields)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: requeue_delivery
-- A new row, so that it stands at the end of the tail.
INSERT OR REPLACE INTO delivery(seq, handler, partition, mode)
SELECT d.seq, d.handler, d.partition, d.mode FROM delivery AS d JOIN event AS e ON e.seq = d.seq
WHERE e.digest = ? AND d.handler = ? AND d.state = 'dead'

-- name: requeue_callback
INSERT OR REPLACE INTO callback(
    digest, seq, key, conversation, handler, event, destination, name, payload, partition, not_before_ms, stored_ms)
SELECT digest, seq, key, conversation, handler, event, destination, name, payload, partition, 0, stored_ms
FROM callback WHERE digest = ? AND state = 'dead'

-- name: drop_delivery
DELETE FROM delivery
WHERE seq = (SELECT seq FROM event WHERE digest = ?) AND handler = ? AND state = 'dead'

-- name: epochs
SELECT id, epoch FROM partition

-- name: owners
SELECT id, owner FROM partition ORDER BY id

-- name: acquire
UPDATE partition SET epoch = epoch + 1, owner = ? WHERE id IN (SELECT value FROM json_each(?)) RETURNING id, epoch

-- name: release
UPDATE partition SET epoch = epoch + 1, owner = NULL WHERE id = ? AND epoch = ?

-- name: leave
UPDATE partition SET epoch = epoch + 1, owner = NULL WHERE owner = ? RETURNING id, epoch

-- name: charge_leftovers
-- Nobody knows how much of a dead worker's calls was streamed, so all that it had reserved counts as used.
UPDATE ledger SET charged = charged + open.amount, reserved = reserved - open.amount, touched_ms = ?
FROM (SELECT ledger, sum(amount) AS amount FROM reservation
      WHERE partition IN (SELECT value FROM json_each(?)) GROUP BY ledger) AS open
WHERE ledger.key = open.ledger

-- name: drop_leftovers
DELETE FROM reservation WHERE partition IN (SELECT value FROM json_each(?))

-- name: spent
SELECT charged, reserved FROM ledger WHERE key = ?

-- name: reserved_under
SELECT ledger, amount FROM reservation WHERE key = ?

-- name: reserve
INSERT INTO reservation(key, ledger, amount, partition, worker) VALUES (?, ?, ?, ?, ?)

-- name: set_aside
INSERT INTO ledger(key, reserved, touched_ms) VALUES (?, ?, ?)
ON CONFLICT(key) DO UPDATE SET reserved = reserved + excluded.reserved, touched_ms = excluded.touched_ms

-- name: drop_reservation
DELETE FROM reservation WHERE key = ?

-- name: give_back
UPDATE ledger SET charged = charged + ?, reserved = reserved - ?, touched_ms = ? WHERE key = ?

-- name: reserved_by
SELECT ledger, amount FROM reservation WHERE key = ? AND worker = ?

-- name: beat
INSERT INTO worker(id, beat, lock_path) VALUES (?, 1, ?)
ON CONFLICT(id) DO UPDATE SET beat = beat + 1, lock_path = excluded.lock_path

-- name: forget_worker
DELETE FROM worker WHERE id = ? AND lock_path = ?

-- name: workers
SELECT id, beat, lock_path FROM worker

-- name: count
UPDATE tally SET value = value + ? WHERE name = ?

-- name: settled
SELECT value FROM tally WHERE name = 'settled'

-- name: counts
SELECT name, value FROM tally WHERE name <> 'settled'

-- name: last_place
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)

-- name: epoch
SELECT epoch FROM partition WHERE id = ?

-- name: waiting_deliveries
SELECT * FROM delivered WHERE partition = ? AND state = 'waiting' AND place > ? AND place <= ? ORDER BY place LIMIT ?

-- name: waiting_callbacks
SELECT * FROM called WHERE partition = ? AND state = 'waiting' AND place > ? AND place <= ? ORDER BY place LIMIT ?

-- name: new_deliveries
-- `+`: by place, not by the index of what waits.
SELECT * FROM delivered WHERE place > ? AND +state = 'waiting' ORDER BY place LIMIT ?

-- name: new_callbacks
SELECT * FROM called WHERE place > ? AND +state = 'waiting' ORDER BY place LIMIT ?

-- name: history
SELECT * FROM stored WHERE conversation = ? ORDER BY seq

-- name: event
SELECT s.* FROM stored AS s WHERE s.seq = (SELECT seq FROM event WHERE digest = ?)

-- name: expired
-- The next rows of the log that are old enough; 1 where all that belongs to one is settled and old enough too.
SELECT seq, NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.seq = e.seq AND (d.state = 'waiting' OR d.settled_ms >= ?2))
        AND NOT EXISTS (SELECT 1 FROM callback AS c WHERE c.seq = e.seq AND (c.state = 'waiting' OR c.settled_ms >= ?2))
FROM (SELECT seq, stored_ms FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?3) AS e
WHERE stored_ms < ?2 ORDER BY seq

-- name: delete_deliveries
DELETE FROM delivery WHERE seq IN (SELECT value FROM json_each(?)) RETURNING state

-- name: delete_callbacks
DELETE FROM callback WHERE seq IN (SELECT value FROM json_each(?)) RETURNING state

-- name: delete_records
DELETE FROM record WHERE seq IN (SELECT value FROM json_each(?))

-- name: delete_events
DELETE FROM event WHERE seq IN (SELECT value FROM json_each(?))

-- name: next_ledgers
SELECT id, touched_ms, reserved FROM ledger WHERE id > ? ORDER BY id LIMIT ?

-- name: delete_ledgers
DELETE FROM ledger WHERE id IN (SELECT value FROM json_each(?))
