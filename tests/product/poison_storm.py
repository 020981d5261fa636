"""Everything bad at once, and whether each piece of it has met its fate.

storm = brew(place)
asyncio.run(storm.publish(place))
wait_for(lambda: not storm.missing(place), "every bad message has met its fate")
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.product import audit
from tests.product.installation import Daemon, Place
from tests.product.nonsense import (
    Bad,
    Malformed,
    bad_dead_letters,
    bad_messages,
    malformed_messages,
    publish_bad,
    publish_malformed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Bad messages for every queue, malformed ones, and garbage among the dead letters."""

    bad: Sequence[Bad]
    malformed: Sequence[Malformed]
    dead: Sequence[Bad]

    async def publish(self, place: Place) -> None:
        """All of it, each message confirmed and routed."""
        await publish_bad(place, [*self.bad, *self.dead])
        await asyncio.to_thread(publish_malformed, place, self.malformed)

    def missing(self, place: Place) -> list[str]:
        """What has not met its fate yet.

        Most become dead letters with a reason; what was put among the dead letters is stored;
        an order that is no order is a saga that fails.
        """
        reasons, states = reasons_of_letters(place), audit.states(place)
        stored = [each.id for each in self.dead] + [f"dead-{each.id}" for each in self.malformed]
        return [
            *(
                f"{each.id} ({each.name}): {each.reason}"
                for each in (*self.bad, *self.malformed)
                if each.reason and each.reason not in reasons.get(each.id, ())
            ),
            *(name for name in stored if name not in reasons),
            *(
                f"{each.id} ({each.name}): failed"
                for each in self.bad
                if each.reason is None and states.get(each.id) != "failed"
            ),
        ]

    @property
    def reasons(self) -> Counter[str]:
        """How many dead letters of each reason it makes, at least."""
        return Counter(each.reason for each in (*self.bad, *self.malformed) if each.reason)


def brew(place: Place, prefix: str = "") -> Storm:
    """A storm whose messages speak of sagas with that prefix; with another one, another storm."""
    return Storm(
        bad=bad_messages(place, prefix),
        malformed=malformed_messages(prefix),
        dead=bad_dead_letters(place, prefix),
    )


def reasons_of_letters(place: Place) -> Mapping[str, set[str]]:
    """The reasons of the dead letters, by every name that a message may be known by."""
    reasons: dict[str, set[str]] = defaultdict(set)
    for row in audit.letters(place):
        original = row["headers"].get("saga-original-message-id")
        for name in (original, row["message_id"], row["saga_id"]):
            reasons[name].add(row["reason"])
    return reasons


@contextmanager
def told_if_it_fails(missing: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Tells what was missing when a wait for it has failed."""
    try:
        yield
    except AssertionError as error:
        error.add_note("\n".join(missing()[:40]))
        raise


def uncounted(
    daemons: Iterable[Daemon], metric: str, label: str, wanted: Counter[str]
) -> list[str]:
    """The values of `label` of which these daemons together have counted too few."""
    pages = [daemon.asked("/metrics")[1] for daemon in daemons]
    found = {value: _total(pages, f'{metric}{{{label}="{value}"}}') for value in wanted}
    return [
        f"{value}: {found[value]} of {wanted[value]}"
        for value in wanted
        if found[value] < wanted[value]
    ]


def _total(pages: Sequence[str], sample: str) -> float:
    lines = [line for page in pages for line in page.splitlines()]
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} "))
