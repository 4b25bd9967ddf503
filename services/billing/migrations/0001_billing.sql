-- What `messaging` needs in a Postgres database. Each service's first migration contains this file word for word.

-- Messages this service wants to send, written in the transaction that caused them. Append-only: the relay reads the
-- database's log, not this table; the rows are kept so that a lost slot or a lost topic can be sent again.
create table outbox (
    -- Taken while the order's row is locked, so the messages of one key are numbered in the order of their commits.
    sequence    bigint generated always as identity primary key,
    id          uuid not null,
    topic       text not null,
    key         text not null,
    kind        text not null,
    payload     text not null,
    traceparent text,
    created_at  timestamptz not null default now()
);
create publication outbox for table outbox with (publish = 'insert');

-- Where the relay of the outbox stands: one row for each slot it reads.
create table relay (
    slot      text primary key,
    -- The log is confirmed up to here; written before the slot hears of it. A slot that is ahead of this is not the one
    -- that was read before. Null: the slot is new. Then the messages of the outbox are sent again, ahead of the log.
    confirmed pg_lsn
);

-- Messages this service has taken in. A second one of the same id is dropped.
create table inbox (
    message_id  uuid primary key,
    received_at timestamptz not null default now()
);

-- The next offset to read. Moves by compare-and-set in the transaction that holds the effect: whoever has lost the
-- partition fails there.
create table consumer_offset (
    topic       text not null,
    partition   int not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

-- The payment of each order. Its row is the lock under which everything about it happens, and its only queue.
--
-- No column that changes is in an index, and each page keeps room, so that an update stays on its page (HOT) and writes
-- no index: a row is written once and updated a few times within its first second.
create table payment (
    order_id    uuid primary key,
    state       text not null check (state in ('authorizing', 'authorized', 'refused', 'voiding', 'voided',
                                               'tombstone', 'capturing', 'captured', 'capture_refused')),

    -- Who pays how much. A tombstone was voided before anybody said so, and only a tombstone.
    customer_id uuid,
    amount      bigint check (amount >= 0),
    currency    text,
    check (num_nulls(customer_id, amount, currency) = case when state = 'tombstone' then 3 else 0 end),

    -- Every command received, in the order of receipt: id, kind, and its answer, or that it waits or is in work. An
    -- answer is kept for as long as the payment, so that no replay, however late, does anything twice.
    commands    jsonb not null,

    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    -- How often the row was written.
    version     int not null check (version >= 1)
) with (fillfactor = 40);

-- The open intents: what the provider is asked for. A row comes with the transaction that opens the intent and goes with
-- the one that books its outcome, so the table is as small as what is under way. Written under the payment's lock, but
-- for taking, which is harmless: it is the same key each time.
create table intent (
    order_id    uuid not null,
    operation   text not null check (operation in ('authorize', 'void', 'capture')),
    -- With order and operation this makes the provider's key, the same for ever.
    attempt     int not null check (attempt >= 1),
    -- What is not said is known to the provider.
    amount      bigint check (amount >= 0),
    currency    text,
    check (num_nulls(amount, currency) = case when operation = 'void' then 2 else 0 end),
    -- The card. Needed to ask for the authorization and for nothing else, so it goes with this row.
    token       text check ((token is not null) = (operation = 'authorize')),
    -- How often it was taken.
    tries       int not null check (tries >= 1),
    -- By the clock of the database alone, which all replicas share. Whoever takes the intent sets it ahead; if he dies,
    -- another takes it then. A parked intent is due for nobody.
    next_try_at timestamptz,
    -- Why an operator must look: the provider said what cannot be booked.
    parked      text,
    check (num_nulls(next_try_at, parked) = 1),
    primary key (order_id, operation, attempt)
);

-- What the worker looks for.
create index intent_due on intent (next_try_at) where next_try_at is not null;

-- What moved money. At most one entry of a kind per order, whatever is replayed.
create table ledger_entry (
    id       uuid primary key,
    order_id uuid not null,
    kind     text not null check (kind in ('capture')),
    at       timestamptz not null,
    unique (order_id, kind)
);

-- What an entry did to which account. A debit is positive, a credit negative.
create table ledger_posting (
    entry_id uuid not null references ledger_entry,
    line     int not null check (line >= 1),
    account  text not null check (account in ('provider_receivable', 'customer_receipts')),
    amount   bigint not null,
    currency text not null,
    primary key (entry_id, line)
);

-- Debits equal credits, whatever the program says. Once per statement, not per row: all postings of an entry are
-- inserted by one statement, so each must leave the entries it touches in balance, and a batch costs one check.
create function ledger_must_balance() returns trigger language plpgsql as $$
declare
    unbalanced uuid;
begin
    select entry_id into unbalanced
    from ledger_posting
    where entry_id in (select entry_id from added)
    group by entry_id, currency
    having sum(amount) <> 0
    limit 1;
    if found then
        raise exception 'ledger entry % does not sum to zero', unbalanced
            using errcode = 'check_violation', constraint = 'ledger_must_balance';
    end if;
    return null;
end
$$;
create trigger ledger_must_balance after insert on ledger_posting
    referencing new table as added for each statement execute function ledger_must_balance();

-- A posting stays as it was written: a mistake is put right by a further entry.
create function ledger_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only' using errcode = 'check_violation', constraint = 'ledger_is_append_only';
end
$$;
create trigger ledger_is_append_only before update or delete or truncate on ledger_posting
    for each statement execute function ledger_is_append_only();
create trigger ledger_is_append_only before update or delete or truncate on ledger_entry
    for each statement execute function ledger_is_append_only();
