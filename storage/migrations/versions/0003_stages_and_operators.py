"""Stages that the server deals and scores; operators who may take a player off the boards."""

from alembic import op

revision = "0003"
down_revision = "0002"

# A session in progress gets a seed, so that its stages can be dealt.
STATEMENTS = """
ALTER TABLE players ADD is_admin boolean NOT NULL DEFAULT false;

ALTER TABLE sessions ADD seed bigint, ADD dealt_at timestamptz, ADD off_boards boolean NOT NULL DEFAULT false;

UPDATE sessions SET seed = floor(random() * 9007199254740992) WHERE status = 0;

ALTER TABLE session_events ADD seed bigint, ADD dealt_at timestamptz, ADD answer json, ADD verdict text;

CREATE TABLE operator_acts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    operator bigint REFERENCES players,
    act text NOT NULL,
    number bigint NOT NULL REFERENCES players,
    reason text NOT NULL
);
"""


def upgrade() -> None:
    """One statement at a time: the driver prepares each."""
    for statement in filter(None, map(str.strip, STATEMENTS.split(";\n"))):
        op.execute(statement)
