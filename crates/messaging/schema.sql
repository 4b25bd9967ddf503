-- What `messaging` needs in a Postgres database. Each service's first migration contains this file word for word.

-- Messages this service wants to send, written in the transaction that caused them. Append-only: the relay reads the
-- database's log, not this table; the rows are kept for an hour, so that a lost slot or a lost topic can be sent again.
-- Six parts, filled in turn for half an hour each. The relay empties a part when all in it is old and confirmed, which
-- costs next to nothing; if it cannot for a while, the part keeps what it has and is filled on.
create table outbox (
    -- Taken while the order's row is locked, so the messages of one key are numbered in the order of their commits.
    sequence    bigint generated always as identity,
    id          uuid not null,
    topic       text not null,
    key         text not null,
    kind        text not null,
    payload     text not null,
    traceparent text,
    created_at  timestamptz not null default now(),
    part        smallint not null default (extract(epoch from now())::bigint / 1800 % 6)
) partition by list (part);
create table outbox_0 partition of outbox for values in (0);
create table outbox_1 partition of outbox for values in (1);
create table outbox_2 partition of outbox for values in (2);
create table outbox_3 partition of outbox for values in (3);
create table outbox_4 partition of outbox for values in (4);
create table outbox_5 partition of outbox for values in (5);
create index outbox_sequence on outbox (sequence);
create publication outbox for table outbox with (publish = 'insert');

-- Where the relay of the outbox stands: one row for each slot it reads.
create table relay (
    slot         text primary key,
    -- The log is confirmed up to here; written before the slot hears of it. A slot that is ahead of this is not the one
    -- that was read before. Null: the slot is new. Then the messages of the outbox are sent again, ahead of the log.
    confirmed    pg_lsn,
    -- How often the topics have lost what they had acknowledged, and one.
    generation   bigint not null default 1,
    -- The last offset that each partition has acknowledged: a list of topic, partition, offset.
    acknowledged jsonb not null default '[]'
);

-- Messages this service has taken in. A second one of the same id is dropped. Kept for 14 days.
create table inbox (
    message_id  uuid primary key,
    received_at timestamptz not null default now()
);
create index inbox_received_at on inbox (received_at);

-- The next offset to read, and the generation of the writer it belongs to. They move by compare-and-set in the
-- transaction that holds the effect: whoever has lost the partition fails there.
create table consumer_offset (
    topic       text not null,
    partition   int not null,
    next_offset bigint not null,
    generation  bigint not null default 0,
    -- Whether something of the partition is parked: only then is table parked_message looked at.
    parked      boolean not null default false,
    primary key (topic, partition)
);

-- Messages at fault, and those of the same topic and key that came behind them. Written by the transaction that moves
-- the offset past them; under the lock of the partition's row of consumer_offset, whatever is done to them.
create table parked_message (
    sequence    bigint generated always as identity primary key,
    message_id  uuid not null unique,
    -- Where it was read.
    topic       text not null,
    partition   int not null,
    place       bigint not null,
    -- Its key; or the hash of its key, if that is long or no plain text.
    key         text not null,
    -- Null if it is no message at all, and can only be dropped.
    kind        text,
    traceparent text,
    -- As it came. Of a record larger than any message can be, the beginning, and how large it was.
    raw_key     bytea not null,
    headers     text not null,
    payload     bytea not null,
    bytes       bigint not null,
    -- What is wrong with it; null if it only waits behind another.
    reason      text,
    -- An operator wants it taken in. The same for all messages of a key.
    replay      boolean not null default false,
    parked_at   timestamptz not null default now()
);
create index parked_message_key on parked_message (topic, key, sequence);
