"""Accounts can be deleted, and revoked logins are found by when they were revoked."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = """
ALTER TABLE players
    ALTER email DROP NOT NULL,
    ALTER email_key DROP NOT NULL,
    ALTER username DROP NOT NULL,
    ALTER username_key DROP NOT NULL,
    ALTER password_hash DROP NOT NULL,
    ADD deleted_at timestamptz,
    ADD CONSTRAINT players_whole_or_deleted CHECK (
        CASE WHEN deleted_at IS NULL
            THEN num_nulls(email, email_key, username, username_key, password_hash) = 0
            ELSE num_nonnulls(email, email_key, username, username_key, password_hash) = 0
        END
    );

CREATE INDEX logins_by_revocation ON logins (revoked_at) WHERE revoked_at IS NOT NULL;

ALTER TABLE ladder_entries ADD removed boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    """One statement at a time: the driver prepares each."""
    for statement in filter(None, map(str.strip, STATEMENTS.split(";\n"))):
        op.execute(statement)
