"""`python -m tests.soak`: exit code 0 if nothing was lost, doubled or stuck, and nothing grows."""

import argparse
import json
import logging
import random
import sys
import tempfile
from pathlib import Path

from tests.soak.page import record
from tests.soak.report import as_json, failures, lines
from tests.soak.run import Wanted, soak


def main() -> int:
    options = _options()
    seed = random.SystemRandom().randrange(100_000) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="saga-soak-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    command = f"make soak SAGAS={options.sagas} FAULTS={options.faults} SEED={seed}"
    print(f"{command}: logs and samples in {folder}", flush=True)
    wanted = Wanted(
        sagas=options.sagas,
        faults=options.faults,
        seed=seed,
        window=options.window,
        folder=folder,
    )
    for name in (
        "aiormq",
        "aio_pika",
        "asyncio",
        "sqlalchemy.pool",
    ):  # of the customers: they are cut off on purpose
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = soak(wanted)
    print("\n".join(lines(shown)))
    problems = list(failures(shown))
    for problem in problems:
        print(f"FAILED: {problem}")
    told = as_json(shown, command)
    (folder / "soak.json").write_text(json.dumps(told, indent=2) + "\n")
    if options.record:
        record(told)
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--sagas", type=int, default=100_000)
    parser.add_argument("--faults", type=int, default=250)
    parser.add_argument("--seed", type=int, help="drawn and shown if it is not given")
    parser.add_argument("--window", type=int, default=100, help="sagas under way at a time")
    parser.add_argument("--folder", type=Path, help="for logs, samples and stories")
    parser.add_argument("--record", action="store_true", help="show it in docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
