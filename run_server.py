"""Start the Brain Game server: `python run_server.py --help`."""

import sys

from server.main import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
