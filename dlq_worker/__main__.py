"""`python -m dlq_worker` is `saga dlq run`."""

import sys

from dlq_worker.run import run

if __name__ == "__main__":
    sys.exit(run())
