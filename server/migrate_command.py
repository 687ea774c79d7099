"""`python run_server.py migrate`: the schema is carried forward, while nodes of the release before go on."""

from __future__ import annotations

import argparse
from typing import Final, TextIO

from server.command_stores import database_of
from server.settings import Settings
from storage.schema import found_schema, planned_sql, prepare_schema

MIGRATE_HELP: Final = "Carry the schema forward to what this version needs; nodes of the release before may go on."


def add_migrate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `migrate`."""
    parser.epilog = "Exit code: 0, or 2 when it could not be done; then nothing was changed."
    parser.add_argument("--dry-run", action="store_true", help="write the SQL that would be run, and change nothing")


async def run_migrate(settings: Settings, given: argparse.Namespace, output: TextIO) -> None:
    """Do what `migrate` says. Raises what a command is refused with (server/operator.py)."""
    async with database_of(settings) as database_url:
        if given.dry_run:
            output.write(await planned_sql(database_url) or "-- nothing to do\n")
            return
        before = await found_schema(database_url)
        after = await prepare_schema(database_url, migrate=True)
        if before == after:
            output.write(f"the schema is {after} already\n")
        else:
            output.write(f"the schema is {after} now{f', and was {before}' if before else ''}\n")
