-- What the peers of the benchmark keep: the same facts as our own schema, with one board instead of six ladders.
CREATE SCHEMA IF NOT EXISTS peers;
CREATE TABLE IF NOT EXISTS peers.sessions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0,
    session_id uuid,
    status smallint,
    stage integer,
    total_score bigint,
    started_at timestamptz,
    ended_at timestamptz
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS peers.events (
    number bigint NOT NULL,
    version bigint NOT NULL,
    key text NOT NULL,
    action smallint NOT NULL,
    score bigint,
    session_id uuid NOT NULL,
    status smallint NOT NULL,
    stage integer NOT NULL,
    total_score bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (number, version),
    UNIQUE (number, key)
);
CREATE TABLE IF NOT EXISTS peers.best (
    number bigint PRIMARY KEY,
    total_score bigint NOT NULL,
    achieved_at timestamptz NOT NULL
);
