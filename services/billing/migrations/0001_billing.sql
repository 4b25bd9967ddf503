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

-- The payment of each order. Its row is the lock under which everything about it happens, and its only queue.
--
-- No column that changes is in an index, and each page keeps room, so that an update stays on its page (HOT) and writes
-- no index: a row is written once and updated a few times within its first second.
create table payment (
    order_id    uuid primary key,
    state       text not null check (state in ('authorizing', 'authorized', 'refused', 'voiding', 'voided',
                                               'tombstone', 'capturing', 'captured', 'capture_refused', 'refunding',
                                               'refunded')),

    -- Who pays how much for what; never changed. A tombstone was voided before anybody said so, and only a tombstone.
    customer_id uuid,
    amount      bigint check (amount >= 0),
    currency    text,
    -- The lines of the order, as it was placed.
    lines       json,
    check (num_nulls(customer_id, amount, currency, lines) = case when state = 'tombstone' then 4 else 0 end),

    -- Every command received, in the order of receipt: id, kind, and its answer, or that it waits or is in work. An
    -- answer is kept for as long as the payment, so that no replay, however late, does anything twice.
    commands    jsonb not null,

    -- The order is cancelled: nothing may be held for it, and no invoice is issued any more.
    closed      boolean not null default false,
    -- Something was held when it was, and had to be let go: somebody has erred.
    late_cleanup boolean not null default false,

    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    -- How often the row was written.
    version     int not null check (version >= 1)
) with (fillfactor = 40);

-- Whether somebody who wants to be forgotten still waits for an invoice.
create index payment_customer on payment (customer_id);

-- Who the customers are: all that is known of them, here and nowhere else but on their invoices. No constraint speaks of
-- what is in a row: if one failed, the row would stand in the log.
create table customer (
    id         uuid primary key,
    name       text not null,
    -- One line each.
    address    text[] not null,
    -- ISO 3166-1 alpha-2.
    country    text not null,
    email      text,
    vat_id     text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

-- The planner keeps samples of columns in tables of its own, also when their rows are gone. It needs none of these.
alter table customer
    alter column name set statistics 0,
    alter column address set statistics 0,
    alter column email set statistics 0,
    alter column vat_id set statistics 0;

-- The open intents: what the provider is asked for. A row comes with the transaction that opens the intent and goes with
-- the one that books its outcome, so the table is as small as what is under way. Written under the payment's lock, but
-- for taking, which is harmless: it is the same key each time.
create table intent (
    order_id    uuid not null,
    operation   text not null check (operation in ('authorize', 'void', 'capture', 'refund')),
    -- 1, but for refunds, which are numbered.
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
    -- What the provider's key is made of: the same for ever.
    primary key (order_id, operation, attempt)
);

-- What the worker looks for.
create index intent_due on intent (next_try_at) where next_try_at is not null;

-- What was asked to be returned of captured payments. Written under the payment's lock: what is open or done is never
-- more than was captured.
create table refund (
    order_id        uuid not null,
    number          int not null check (number >= 1),
    -- A repetition of the request finds the first by it. Null: all that was left, because the order is cancelled.
    idempotency_key text,
    amount          bigint not null check (amount > 0),
    currency        text not null,
    -- The amount by rate of VAT, in proportion to what was left when it was requested.
    taxes           json not null,
    state           text not null check (state in ('open', 'refunded', 'refused')),
    decline_code    text,
    check ((decline_code is not null) = (state = 'refused')),
    requested_at    timestamptz not null,
    updated_at      timestamptz not null,
    primary key (order_id, number),
    unique (order_id, idempotency_key)
);

-- What the provider said of each intent, once: what became of a payment, as it happened.
create table payment_outcome (
    order_id     uuid not null,
    operation    text not null check (operation in ('authorize', 'void', 'capture', 'refund')),
    attempt      int not null check (attempt >= 1),
    at           timestamptz not null,
    -- None if it was refused, and for a void that had nothing to release.
    amount       bigint,
    currency     text,
    check (num_nulls(amount, currency) in (0, 2)),
    -- Only if it was refused.
    decline_code text,
    primary key (order_id, operation, attempt)
);

-- What moved money, or set it aside. At most one entry of a kind and number per order,
-- whatever is replayed.
create table ledger_entry (
    -- 1..n without gaps, in the order of the chain.
    seq      bigint primary key check (seq >= 1),
    order_id uuid not null,
    kind     text not null check (kind in ('authorization', 'release', 'capture', 'refund')),
    -- 1, but for refunds, which are numbered.
    number   int not null check (number >= 1),
    at       timestamptz not null,
    -- SHA-256 over the hash of the entry before (over nothing, for the first) and this entry as the UTF-8 text
    --     seq|order_id|kind|number|at|account:amount:currency|account:amount:currency:vat_rate...
    -- with `at` in microseconds since 1970 and the postings in the order of their lines, each with its rate if it has
    -- one. Whoever changes an entry, or takes one away, breaks the chain at that place.
    hash     bytea not null check (octet_length(hash) = 32),
    unique (order_id, kind, number)
);

-- What an entry did to which account. A debit is positive, a credit negative.
create table ledger_posting (
    seq      bigint not null,
    line     int not null check (line >= 1),
    account  text not null check (account in ('provider_receivable', 'sales', 'vat_payable', 'provider_fees',
                                              'memo_authorized', 'memo_customers')),
    amount   bigint not null,
    currency text not null,
    -- Of what is sold, and of the VAT in it. Unit: hundredths of a percent, 1900 is 19 %.
    vat_rate int check (vat_rate >= 0),
    check ((vat_rate is not null) = (account in ('sales', 'vat_payable'))),
    primary key (seq, line)
);

-- Every posting has its entry, and debits equal credits in each currency, whatever the program says. Once per statement,
-- not per row: each statement must add nothing in sum to any entry, and a batch costs one check. That is stricter than a
-- deferred constraint trigger, and cheaper: one exists per row only, 90 us for an entry of six postings against 7. A
-- foreign key would look once per row, too. The planner guesses a batch to be large enough to read the whole table for
-- it; it must not.
create function ledger_must_balance() returns trigger language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    wrong bigint;
begin
    -- If every statement adds zero to every entry, every entry is zero: no look at what stands there already.
    select seq into wrong from added group by seq, currency having sum(amount) <> 0 limit 1;
    if found then
        raise exception 'ledger entry % does not sum to zero', wrong
            using errcode = 'check_violation', constraint = 'ledger_must_balance';
    end if;
    select seq into wrong from added where not exists (select from ledger_entry where ledger_entry.seq = added.seq) limit 1;
    if found then
        raise exception 'there is no ledger entry %', wrong
            using errcode = 'foreign_key_violation', constraint = 'ledger_posting_has_its_entry';
    end if;
    return null;
end
$$;
create trigger ledger_must_balance after insert on ledger_posting
    referencing new table as added for each statement execute function ledger_must_balance();

-- The end of the chain, for whoever adds to it next: it is his alone until his transaction ends. The lock is taken
-- before the snapshot that reads the end, which is why this is a function and not one query.
create function ledger_end(out seq bigint, out hash bytea) language plpgsql as $$
begin
    perform pg_advisory_xact_lock('ledger_entry'::regclass::oid::bigint);
    select entry.seq, entry.hash into ledger_end.seq, ledger_end.hash
    from ledger_entry entry order by entry.seq desc limit 1;
end
$$;

-- Invoices, and the credit notes that correct them, which are invoices too (Directive 2006/112/EC, Article 219).
create table invoice (
    kind      text not null check (kind in ('invoice', 'credit_note')),
    -- 1..n without gaps, for each kind.
    number    bigint not null check (number >= 1),
    order_id  uuid not null,
    -- Which refund is credited. 0 for an invoice, and for the credit note of a cancelled order.
    refund    int not null check (refund >= 0 and (refund = 0 or kind = 'credit_note')),
    -- Never before that of a lower number.
    issued_at timestamptz not null,
    -- All that it says, as JSON. These bytes are the invoice; what people read is made from them alone.
    facts     text not null,
    -- SHA-256 of them.
    hash      bytea not null check (octet_length(hash) = 32),
    primary key (kind, number),
    unique (order_id, kind, refund)
);

-- As of customers: nobody looks for what is in it.
alter table invoice alter column facts set statistics 0;

-- How far each kind is numbered. A sequence would leave gaps when a transaction is rolled back; this row is locked from
-- the numbering to the commit, so it is locked once per batch, and late.
create table invoice_series (
    kind      text primary key,
    last      bigint not null,
    issued_at timestamptz not null
);
insert into invoice_series values ('invoice', 0, '-infinity'), ('credit_note', 0, '-infinity');

-- What is written stays as it was written: a mistake is put right by a further entry. The service's own role may not
-- change it, and a trigger stops whoever may.
revoke update, delete, truncate on payment_outcome, ledger_entry, ledger_posting, invoice from current_user;
create function history_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name
        using errcode = 'check_violation', constraint = 'history_is_append_only';
end
$$;
create trigger history_is_append_only before update or delete or truncate on payment_outcome
    for each statement execute function history_is_append_only();
create trigger history_is_append_only before update or delete or truncate on ledger_entry
    for each statement execute function history_is_append_only();
create trigger history_is_append_only before update or delete or truncate on ledger_posting
    for each statement execute function history_is_append_only();
create trigger history_is_append_only before update or delete or truncate on invoice
    for each statement execute function history_is_append_only();
