-- The whole current schema of Brain Game, readable from top to bottom (PostgreSQL 14 or later).
-- A test holds it equal to what the migrations in storage/migrations build; change both together.

-- Which deployment this database is. Part of every Redis key, so that two deployments may share one Redis, and a
-- Redis that was filled from another database is never taken for this one's.
CREATE TABLE deployment (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- The registration number given out last. Numbers have no gaps, which a sequence cannot promise.
    last_player_number bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX deployment_one_row ON deployment ((true));
INSERT INTO deployment DEFAULT VALUES;

CREATE TABLE players (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    email text,
    email_key text CONSTRAINT players_email_taken UNIQUE,
    username text,
    username_key text CONSTRAINT players_username_taken UNIQUE,
    password_hash text,
    registered_at timestamptz NOT NULL,
    -- When the account was deleted: from then on the row is a number without a person.
    deleted_at timestamptz,
    -- May use /admin.
    is_admin boolean NOT NULL DEFAULT false,
    CONSTRAINT players_whole_or_deleted CHECK (
        CASE WHEN deleted_at IS NULL
            THEN num_nulls(email, email_key, username, username_key, password_hash) = 0
            ELSE num_nonnulls(email, email_key, username, username_key, password_hash) = 0
        END
    )
);
COMMENT ON COLUMN players.email_key IS 'the email without case: what uniqueness and login go by';
COMMENT ON COLUMN players.username_key IS 'the username without case';

-- One row for each login; access tokens name it as "sid".
CREATE TABLE logins (
    sid uuid PRIMARY KEY,
    number bigint NOT NULL REFERENCES players,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX logins_of_player ON logins (number);
-- Every node looks twice a second for logins that were revoked elsewhere.
CREATE INDEX logins_by_revocation ON logins (revoked_at) WHERE revoked_at IS NOT NULL;

-- Refresh tokens are kept as SHA-256 only. A used one stays, so that its second use is noticed.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    sid uuid NOT NULL REFERENCES logins,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_of_login ON refresh_tokens (sid);

-- The current state of each player: the last session, after `version` applied actions. Updated in place for every
-- action, without touching an index; the space left in each page keeps the new row version on it (a HOT update).
-- A deleted account has no row here, so nothing can be applied for it any more.
CREATE TABLE sessions (
    number bigint PRIMARY KEY REFERENCES players,
    version bigint NOT NULL DEFAULT 0,
    session_id uuid,
    status smallint,
    stage integer,
    stage_count integer,
    total_score bigint,
    difficulty smallint,
    started_at timestamptz,
    ended_at timestamptz,
    -- What the puzzles of the session are made from, never sent; null in sessions from before there were any.
    seed bigint,
    -- When the current stage was dealt.
    dealt_at timestamptz,
    -- An operator has taken the player off the boards: what is played from now on is kept, but not shown.
    off_boards boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- Every applied action with the state it led to. Nothing here is ever changed: sessions and ladder_entries can be
-- made again from it. No foreign key here and below: rows come only from the statement that has just updated the
-- player's row in sessions, and a check for each row would cost as much as the insert.
-- `action`: 0 start, 1 complete, 2 close, 3 cancel, 4 deal. `status`: 0 in progress, 1 finished, 2 failed, 3 canceled.
CREATE TABLE session_events (
    number bigint NOT NULL,
    version bigint NOT NULL,
    key text NOT NULL,
    action smallint NOT NULL,
    score bigint,
    session_id uuid NOT NULL,
    status smallint NOT NULL,
    stage integer NOT NULL,
    stage_count integer NOT NULL,
    total_score bigint NOT NULL,
    difficulty smallint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    at timestamptz NOT NULL,
    seed bigint,
    dealt_at timestamptz,
    -- What the player answered and what the server found it to be, where the server gave the score.
    answer json,
    verdict text,
    PRIMARY KEY (number, version),
    CONSTRAINT session_events_key_once UNIQUE (number, key)
);
COMMENT ON COLUMN session_events.key IS 'chosen by the client, or drawn by the server (then it begins with U+0001)';

-- The best ended session of each player on each ladder ("all-time", "daily:3@2026-11-23").
CREATE TABLE ladder_entries (
    ladder text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    passed_all_games boolean NOT NULL,
    total_score bigint NOT NULL,
    achieved_at timestamptz NOT NULL,
    session_id uuid NOT NULL,
    -- The transaction that wrote the row: what the projection into Redis reads on from.
    changed_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- The player is not shown on this ladder. The row stays, so that the boards in Redis hear of it.
    removed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (ladder, number)
);
CREATE INDEX ladder_entries_by_change ON ladder_entries (changed_by);

-- What operators have done, and why. Nothing here is ever changed.
CREATE TABLE operator_acts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    -- Null for the command line of the server's machine.
    operator bigint REFERENCES players,
    -- grant_admin, withdraw_admin, take_off_boards, put_back_on_boards or revoke_logins
    act text NOT NULL,
    number bigint NOT NULL REFERENCES players,
    reason text NOT NULL
);
