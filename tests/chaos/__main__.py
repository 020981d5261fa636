"""`python -m tests.chaos`: play fault scenarios against real daemons and servers."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `servers`, as the tests find it

from tests.chaos.command import main

if __name__ == "__main__":
    # Customers lose connections, too, and the library tells each with a page of traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    sys.exit(main(sys.argv[1:]))
