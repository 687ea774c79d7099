"""The tables of the first release."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE deployment (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    last_player_number bigint NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX deployment_one_row ON deployment ((true));

INSERT INTO deployment DEFAULT VALUES;

CREATE TABLE players (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    email text NOT NULL,
    email_key text NOT NULL CONSTRAINT players_email_taken UNIQUE,
    username text NOT NULL,
    username_key text NOT NULL CONSTRAINT players_username_taken UNIQUE,
    password_hash text NOT NULL,
    registered_at timestamptz NOT NULL
);

COMMENT ON COLUMN players.email_key IS 'the email without case: what uniqueness and login go by';

COMMENT ON COLUMN players.username_key IS 'the username without case';

CREATE TABLE logins (
    sid uuid PRIMARY KEY,
    number bigint NOT NULL REFERENCES players,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE INDEX logins_of_player ON logins (number);

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    sid uuid NOT NULL REFERENCES logins,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE INDEX refresh_tokens_of_login ON refresh_tokens (sid);

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
    ended_at timestamptz
) WITH (fillfactor = 50);

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
    PRIMARY KEY (number, version),
    CONSTRAINT session_events_key_once UNIQUE (number, key)
);

COMMENT ON COLUMN session_events.key IS 'chosen by the client, or drawn by the server (then it begins with U+0001)';

CREATE TABLE ladder_entries (
    ladder text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    passed_all_games boolean NOT NULL,
    total_score bigint NOT NULL,
    achieved_at timestamptz NOT NULL,
    session_id uuid NOT NULL,
    changed_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (ladder, number)
);

CREATE INDEX ladder_entries_by_change ON ladder_entries (changed_by);

"""


def upgrade() -> None:
    """From an empty database."""
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)
