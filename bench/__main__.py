"""`python -m bench`: see bench/README.md."""

import sys
from pathlib import Path

# `servers`, as the tests find it
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
