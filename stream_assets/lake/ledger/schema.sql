create table if not exists meta (key text primary key, value text not null) without rowid;
create table if not exists tbl (name text primary key, grain text not null, stream text) without rowid;
create table if not exists publication (
    seq integer primary key autoincrement, tbl text not null, key_start text not null, key_end text not null,
    revision integer not null, kind text not null, digest text not null, rows integer not null,
    touched text not null, reason text not null, run_id text not null, committed_at text not null
);
create index if not exists publication_by_table on publication (tbl, seq);
create index if not exists publication_by_key on publication (tbl, key_start);
create index if not exists publication_by_commit on publication (committed_at);
create table if not exists published (
    day text not null, tbl text not null, first integer not null, again integer not null, equal integer not null,
    removed integer not null, rows integer not null, primary key (day, tbl)
) without rowid;
create table if not exists worked (
    day text not null, automation text not null, runs integer not null, failed integer not null, cpu_seconds real not null,
    primary key (day, automation)
) without rowid;
create table if not exists current (
    tbl text not null, key_start text not null, key_end text not null, revision integer not null,
    digest text not null, rows integer not null, file text not null, inputs_seq integer not null,
    code text not null, committed_at text not null, receipt text not null, seq integer not null,
    primary key (tbl, key_start)
) without rowid;
create index if not exists current_by_seq on current (tbl, seq);
create index if not exists current_by_rows on current (tbl, key_start) where rows > 0;
create index if not exists current_with_rows on current (tbl, seq) where rows > 0;
create index if not exists current_by_code on current (tbl, code);
create index if not exists current_by_gap on current (tbl, key_start) where receipt ->> 'accepted' != '[]';
create table if not exists leaving (folder text primary key, tbl text not null, key_start text not null) without rowid;
create table if not exists coverage (tbl text not null, start text not null, "end" text not null, primary key (tbl, start)) without rowid;
create table if not exists reopened (
    id integer primary key autoincrement, tbl text not null, start text not null, "end" text not null,
    reason text not null, since text not null, latest integer not null, not_before text not null
);
create index if not exists reopened_by_span on reopened (tbl, start);
create table if not exists failure (
    tbl text not null, start text not null, "end" text not null, error text not null, tries integer not null,
    at text not null, next_try_at text, transient integer not null, code text not null, upto text,
    primary key (tbl, start)
) without rowid;
create table if not exists work (
    id integer primary key autoincrement, automation text not null, grain text not null, tables text not null, remaining text not null,
    start text not null, "end" text not null, is_catch_up integer not null, reason text not null,
    state text not null, owner text not null, requested_at text not null, lease_expires_at text,
    finished_at text, error text, cpu_seconds real
);
create index if not exists work_by_lease on work (state, lease_expires_at);
create index if not exists work_by_age on work (state, is_catch_up, id);
create index if not exists work_by_request on work (requested_at);
create table if not exists consumer (
    name text primary key, first_seen text not null, code text not null, code_stated integer not null,
    reconciled_seq integer not null, paused_at text
) without rowid;
create table if not exists stream (name text primary key, watermark text, looked_at text, cursor text, columns text) without rowid;
create table if not exists looked_at (tbl text not null, age integer not null, seq integer not null, primary key (tbl, age)) without rowid;
create table if not exists allowance (
    stream text not null, rule text not null, day text not null, seconds real not null, why text not null, at text not null,
    primary key (stream, rule, day)
) without rowid;
create table if not exists source_file (
    stream text not null, path text not null, size integer not null, mtime_ns integer not null, seen integer not null,
    start text, "end" text, fact text not null, primary key (stream, path)
) without rowid;
create index if not exists source_file_by_look on source_file (stream, seen);
create table if not exists automation (name text primary key, ticked text not null, awake_since text not null) without rowid;
create table if not exists reader (id text primary key, stream text not null, expires_at text not null) without rowid;
