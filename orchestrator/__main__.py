"""`python -m orchestrator MODULE[:CLASS]...`: the same as `saga orchestrator run`."""

import sys

from orchestrator.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["orchestrator", "run", *sys.argv[1:]]))
