"""Start the Brain Game server: `python run_server.py --help`; or, for authors of clients, `… conformance --help`; or do
what an operator does: `… players --help`."""

import sys

if __name__ == "__main__":
    arguments = sys.argv[1:]
    # Each imports what it needs: the server should be up soon, and the kit needs no stores.
    if arguments[:1] == ["conformance"]:
        from conformance.main import run as run_conformance_kit

        sys.exit(run_conformance_kit(arguments[1:], sys.stdout))
    if arguments == ["worker"]:
        from server.worker import run as run_worker

        sys.exit(run_worker())
    if arguments and not arguments[0].startswith("-"):
        from server.operator import run as run_operators_command

        sys.exit(run_operators_command(arguments, sys.stdout))
    from server.main import run

    sys.exit(run(arguments))
