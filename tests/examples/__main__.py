"""`python -m tests.examples NAME`: play an example; exit code 0 if its books balance."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `servers`, as the tests find it

from tests.examples.catalogue import EXAMPLES
from tests.examples.page import page_of
from tests.examples.playing import place_for, play

_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """0 if every saga has ended as it should and the books balance, 1 if not, 2 for a typo."""
    names = ", ".join(EXAMPLES)
    if len(arguments) != 1 or arguments[0] not in EXAMPLES:
        wrong = f"there is no example {' '.join(arguments)!r}" if arguments else "which example?"
        print(f"{wrong}; name one of {names}", file=sys.stderr)
        return _USAGE
    example = EXAMPLES[arguments[0]]
    servers = [os.environ.get(f"SAGA_TEST_{kind}_URL") for kind in ("AMQP", "DATABASE")]
    amqp_url, postgres_url = servers
    if not (amqp_url and postgres_url):
        print(
            f"SAGA_TEST_AMQP_URL or SAGA_TEST_DATABASE_URL is not set; `make example"
            f" NAME={example.name}` finds or starts the servers",
            file=sys.stderr,
        )
        return _USAGE
    folder = Path(tempfile.mkdtemp(prefix=f"saga-{example.name}-"))
    with place_for(example, amqp_url, postgres_url) as place:
        played = play(example, place, folder)
    print("\n".join(page_of(played)))
    if played.problems:
        print(f"\nThe programs' logs are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
