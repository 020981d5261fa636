"""All that must be true of every saga and of everything that follows from an event."""

from collections.abc import Callable, Iterable

from laws_of_messages import (
    MESSAGE_LAWS,
    a_deadline_counts_from_the_sending,
    a_duplicate_changes_nothing,
    what_a_redelivery_owes_is_sent_again,
    what_came_back_is_sent_again,
    what_is_confirmed_is_settled,
)
from laws_of_moves import (
    MOVE_LAWS,
    a_lone_effect_is_told,
    a_stranded_effect_is_told,
    the_clock_leaves_nothing_due,
)
from laws_of_people import PEOPLE_LAWS
from laws_of_sagas import STATE_LAWS
from laws_of_the_table import the_table_is_kept
from saga_walk import Arrow, Walk

# Those that also say something where nothing came of the event.
QUIET_LAWS = (
    the_table_is_kept,
    *PEOPLE_LAWS,
    a_lone_effect_is_told,
    a_stranded_effect_is_told,
    a_duplicate_changes_nothing,
    what_a_redelivery_owes_is_sent_again,
    what_is_confirmed_is_settled,
    what_came_back_is_sent_again,
    a_deadline_counts_from_the_sending,
    the_clock_leaves_nothing_due,
)
ARROW_LAWS = (the_table_is_kept, *MOVE_LAWS, *MESSAGE_LAWS, *PEOPLE_LAWS)


def nothing_is_raised(walk: Walk) -> None:
    """The rules are total: no event makes them raise."""
    for _ in walk:
        pass


LAWS: dict[str, Callable[..., object]] = {
    law.__name__: law for law in (nothing_is_raised, *STATE_LAWS, *ARROW_LAWS)
}


def broken_laws(arrow: Arrow) -> list[str]:
    laws = QUIET_LAWS if arrow.after is arrow.before else ARROW_LAWS
    found = [law.__name__ for law in laws if not law(arrow)]
    if arrow.is_new:
        found += [law.__name__ for law in STATE_LAWS if not law(arrow.after)]
    return found


def faults_of(walk: Walk) -> Iterable[tuple[list[str], str]]:
    """The laws that are broken on the way, each time with what happened to which saga."""
    arrow = None
    try:
        for arrow in walk:
            broken = broken_laws(arrow)
            if broken:
                yield broken, f"{arrow.event} in {arrow.before}"
    except Exception as error:  # no event may make the rules raise
        yield [nothing_is_raised.__name__], f"{type(error).__name__}: {error}, after {arrow}"
