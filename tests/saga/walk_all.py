"""The complete walk: `python tests/saga/walk_all.py [STEPS] [MANNER]...`, on all processors."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from time import monotonic

from saga_laws import faults_of
from saga_plans import MANNERS, Plan, plans
from saga_walk import Walk

# How many steps, in which manners, and whether what a saga owes makes it another one.
COMPLETE = (
    (0, ("once",), True),
    (1, tuple(MANNERS), True),
    (2, tuple(MANNERS), True),
    (3, ("once",), True),
    (3, tuple(MANNERS), False),
    (4, ("once",), False),
)
Walked = tuple[str, int, int, str | None]


def walked(name: str, planned: Plan, manner: str, owing: bool) -> Walked:
    """How many states and arrows the plan has, and the first fault, if any."""
    walk = Walk(planned, MANNERS[manner].on_exhausted, owing=owing)
    fault = next(iter(faults_of(walk)), None)
    return name, walk.states, walk.arrows, fault and f"{name}: {', '.join(fault[0])}: {fault[1]}"


def walk_all(pool: ProcessPoolExecutor, size: int, manner: str, owing: bool) -> Iterator[Walked]:
    found = [pool.submit(walked, *each, manner, owing) for each in plans(size, MANNERS[manner])]
    for each in found:
        yield each.result()


def main(arguments: Sequence[str]) -> int:
    sizes = {int(word) for word in arguments if word.isdigit()} or {0, 1, 2, 3, 4}
    chosen = {word for word in arguments if word in MANNERS} or set(MANNERS)
    total_states = total_arrows = faults = 0
    with ProcessPoolExecutor() as pool:
        for size, manners, owing in COMPLETE:
            for manner in manners:
                if size not in sizes or manner not in chosen:
                    continue
                begun = monotonic()
                all_walked = list(walk_all(pool, size, manner, owing))
                states, arrows = (sum(each[at] for each in all_walked) for at in (1, 2))
                broken = [each[3] for each in all_walked if each[3]]
                say(
                    f"{size} steps, {manner}{', with what is owed' if owing else ''}:"
                    f" {len(all_walked)} plans, {states} states, {arrows} arrows,"
                    f" {monotonic() - begun:.0f} s"
                )
                for fault in broken:
                    say(f"BROKEN {fault}")
                total_states, total_arrows = total_states + states, total_arrows + arrows
                faults += len(broken)
    say(f"{total_states} states, {total_arrows} arrows, {faults} plans with a broken law")
    return 1 if faults else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
