"""After the faults: heal, and wait until every saga has ended, with an operator if called."""

import time
from collections.abc import Mapping, Sequence

import psycopg

from tests.chaos.world import World
from tests.product import audit
from tests.product.installation import saga

_PARKED = """
    SELECT l.saga_id, array_agg(l.id::text), count(DISTINCT a.id)
    FROM dead_letters l JOIN alerts a ON a.key = l.alert_key
    WHERE l.status IN ('open', 'replaying') AND a.status <> 'closed' AND l.saga_id IS NOT NULL
    GROUP BY l.saga_id
"""


class Quiet:
    """No more faults. What was waited for, and what an operator was called to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.parked: dict[str, int] = {}  # saga, and the open alerts that called
        self.stuck: dict[str, str] = {}  # saga, and its state

    def come(self) -> float:
        """Heal and wait; the seconds until all daemons were ready and the last saga had ended."""
        world = self._world
        world.heal()
        healed = time.monotonic()
        world.load.join()
        world.wait_ready()
        self.wait_until_ended()
        recovered = time.monotonic() - healed
        world.load.begin(max(world.sagas - len(world.load.asked), 5))  # and life goes on
        self.wait_until_ended()
        return recovered

    def wait_until_ended(self) -> None:
        deadline, moved = self._deadline(), -1
        while left := self._left():
            if (count := audit.transitions(self._world.place)) != moved:
                deadline, moved = self._deadline(), count
            self._call_operator(left)
            if time.monotonic() > deadline:
                self.stuck |= left
                return
            time.sleep(0.2)

    def _deadline(self) -> float:
        return time.monotonic() + self._world.needs.still_seconds

    def _left(self) -> dict[str, str]:
        now = audit.states(self._world.place)
        asked = [each.saga_id for each in self._world.load.asked]
        return {
            name: now.get(name, "unknown") for name in asked if now.get(name) not in audit.FINAL
        }

    def _call_operator(self, left: Mapping[str, str]) -> None:
        """All who are left wait with an alert: an operator, faults over, says `try again`."""
        with psycopg.connect(self._world.place.saga_database) as connection:
            rows = connection.execute(_PARKED).fetchall()
        waiting = {saga_id: (letters, alerts) for saga_id, letters, alerts in rows}
        if not left.keys() <= waiting.keys() or left.keys() <= self.parked.keys():
            return
        self.parked |= {saga_id: waiting[saga_id][1] for saga_id in left}
        self._retry([letter for saga_id in left for letter in waiting[saga_id][0]])

    def _retry(self, letters: Sequence[str]) -> None:
        place = self._world.place
        self._world.faults.told(f"operator: saga dlq retry {' '.join(letters)}")
        said = saga(
            self._world.installation, "dlq", "retry", *letters, "--reason", "the faults are over"
        )
        assert said.code == 0, f"an operator could not retry in {place.namespace}: {said.err}"
