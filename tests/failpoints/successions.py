"""Daemons that die at one failpoint after the other, and are started again each time."""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chassis.failpoints import TEST_BUILD, VARIABLE, Failpoint
from tests.product.installation import Daemon


@dataclass(slots=True, kw_only=True)
class Succession:
    """A daemon and the failpoints at which it has yet to die, in this order."""

    daemon: Daemon
    points: list[Failpoint]
    passage: int = 1

    @property
    def is_over(self) -> bool:
        return not self.points and self.daemon.is_running

    def begin(self) -> None:
        self.daemon.start(**self._settings())

    def go_on(self) -> bool:
        """If it has died, see that it was where it had to, and start it for the next point."""
        if self.daemon.is_running:
            return False
        point = self.points.pop(0)
        must_have_died_at(self.daemon, point, self.passage)
        self.begin()
        return True

    def _settings(self) -> dict[str, str]:
        if not self.points:
            return {}
        return armed(f"{self.points[0]}=kill@{self.passage}")


def must_have_died_at(daemon: Daemon, point: Failpoint, passage: int) -> None:
    reached = f"FAILPOINT REACHED: {point}=kill@{passage} at passage {passage}"
    assert daemon.exit_code == -signal.SIGKILL, f"{daemon.name}: {daemon.exit_code}"
    assert reached in daemon.log.splitlines()[-1], f"{daemon.name} has not died at {point}"


def armed(traps: str) -> dict[str, str]:
    """The environment in which these traps are armed."""
    return {VARIABLE: traps, TEST_BUILD: "1"}


def left_over(successions: Iterable[Succession]) -> Sequence[str]:
    """Who still has to die where."""
    return [f"{each.daemon.name} at {each.points[0]}" for each in successions if each.points]


def in_turn() -> tuple[Sequence[Failpoint], ...]:
    """Every failpoint, by who comes by: orchestrator, services, a carrier's service, DLQ worker.

    What leaves a lease behind comes first, so that nobody waits for it at the end.
    """
    of_carrier = [Failpoint.GUARD_AFTER_NOTE]
    of_dlq = sorted((each for each in Failpoint if each.startswith("dlq_")), key=_leaves_no_lease)
    of_services = [
        each
        for each in Failpoint
        if each.startswith(("guard_", "participant_")) and each not in of_carrier
    ]
    elsewhere = {*of_carrier, *of_dlq, *of_services}
    return [each for each in Failpoint if each not in elsewhere], of_services, of_carrier, of_dlq


def _leaves_no_lease(point: Failpoint) -> bool:
    return point not in {
        Failpoint.DLQ_BEFORE_PUBLISH,
        Failpoint.DLQ_AFTER_PUBLISH,
        Failpoint.DLQ_BEFORE_ALERT,
        Failpoint.DLQ_AFTER_ALERT,
    }
