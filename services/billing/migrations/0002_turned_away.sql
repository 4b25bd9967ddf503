-- How often in a row the provider has turned the call away: that alone says that it will not take it. Other tries say
-- nothing of it: answers that were unclear, calls that were not made, processes that died.
alter table intent add column turned_away int not null default 0 check (turned_away >= 0);
