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

-- The truth about orders: what happened to each, numbered 1..n without gaps. Never changed.
create table order_events (
    order_id uuid not null,
    version  int not null check (version >= 1),
    type     text not null,
    -- json, here and below: the database keeps what it is given and never looks inside.
    data     json not null,
    at       timestamptz not null,
    primary key (order_id, version)
);

-- The fold of each order's events, written in the same transaction.
create table orders (
    id             uuid primary key,
    customer_id    uuid not null,
    status         text not null check (status in ('pending', 'confirmed', 'partly_shipped', 'shipped', 'cancelled')),
    cancel_reason  json check ((cancel_reason is not null) = (status = 'cancelled')),
    version        int not null check (version >= 1),
    lines          json not null,
    total_amount   bigint not null check (total_amount >= 0),
    total_currency text not null,
    -- The ids of what has left for the customer.
    shipments      json not null default '[]',
    cancellation_refused boolean not null default false,
    placed_at      timestamptz not null,
    updated_at     timestamptz not null
) with (fillfactor = 50); -- Room beside each row, so that its update stays on the page and touches no index.

-- The orders of a customer, the latest first. No column of it ever changes.
create index orders_customer on orders (customer_id, id);

-- One run of a saga. Whoever changes it locks its row; whoever begins a cancellation locks that of the checkout.
create table saga (
    id       uuid primary key,
    kind     text not null check (kind in ('checkout', 'cancellation')),
    order_id uuid not null,
    state    text not null check (state in ('running', 'parked', 'completed', 'unwound')),
    instance json not null,
    -- When to look at it again if nothing comes: its deadline, or the time to ask again, or earlier. Null once it has
    -- ended. It is indexed, so it moves only when it must.
    wake_at  timestamptz
) with (fillfactor = 40);
create index saga_wake_at on saga (wake_at) where wake_at is not null;
-- Nearly always empty.
create index saga_parked on saga (id) where state = 'parked';
create unique index saga_order on saga (order_id, kind);

-- What happened to every saga, written in the transaction that made it: one row for each transition.
create table saga_log (
    saga_id uuid not null,
    -- The number of the first of its entries, which are numbered 1..n without gaps within a saga.
    seq     int not null check (seq >= 1),
    entries json not null,
    at      timestamptz not null,
    primary key (saga_id, seq)
);

-- What happened stays as it was written, whatever the program says: the service's own role may not change it, and a trigger
-- stops whoever may.
revoke update, delete, truncate on order_events, saga_log from current_user;
create function history_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name
        using errcode = 'check_violation', constraint = 'history_is_append_only';
end
$$;
create trigger history_is_append_only before update or delete or truncate on order_events
    for each statement execute function history_is_append_only();
create trigger history_is_append_only before update or delete or truncate on saga_log
    for each statement execute function history_is_append_only();

-- Requests answered: a repetition gets the first answer. Taken in the transaction that places the order.
create table idempotency_key (
    customer_id uuid not null,
    key         text not null,
    -- SHA-256 of the request's meaning: the same key with another request is refused.
    fingerprint bytea not null,
    order_id    uuid not null,
    created_at  timestamptz not null default now(),
    primary key (customer_id, key)
);
-- Keys are forgotten after a day.
create index idempotency_key_created_at on idempotency_key (created_at);

-- What customers call their orders, if they say so. Beside the orders and in no event, for it may be anything.
create table order_reference (
    customer_id uuid not null,
    reference   text not null,
    order_id    uuid not null unique,
    primary key (customer_id, reference)
);

-- This service's own copy of the catalogue, fed by inventory.catalogue. Prices of new orders come from here.
create table product (
    sku            text primary key,
    version        int not null,
    name           text not null,
    price_amount   bigint not null check (price_amount >= 0),
    price_currency text not null,
    vat_rate       int not null check (vat_rate between 0 and 10000)
);
