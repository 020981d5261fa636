"""`python -m participants MODULE[:ATTR]...`: the same as `saga participants run`."""

import argparse
import sys

from participants.run import run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m participants",
        description="Run participant services. Settings are SAGA_* environment variables.",
    )
    parser.add_argument(
        "targets",
        metavar="MODULE[:ATTR]",
        nargs="+",
        help="a module with Participant objects, or one of them",
    )
    return run(parser.parse_args().targets)


if __name__ == "__main__":
    sys.exit(main())
