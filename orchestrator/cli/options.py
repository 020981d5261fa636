"""The arguments and options that several commands share, and how their texts are read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final

import typer

from orchestrator.cli.output import Output

_MAX_DIGITS: Final = 30


def whole_number(smallest: int, largest: int | None = None) -> Callable[[object], int]:
    """A reader of whole numbers within these bounds."""
    bounds = f"of at least {smallest}" if largest is None else f"from {smallest} to {largest}"

    def read(text: object) -> int:
        digits = str(text)
        is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS
        number = int(digits) if is_number else -1
        if number < smallest or (largest is not None and number > largest):
            raise typer.BadParameter(f"{digits!r} is no whole number {bounds}")
        return number

    return read


def duration(text: object) -> timedelta:
    """`30`, `30s`, `5m`, `1h30m`."""
    from chassis.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from error


def age(text: object) -> timedelta:
    """`30d`; less than an hour is refused."""
    from chassis.durations import parse_retention

    try:
        kept = parse_retention(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from error
    if kept is None:
        raise typer.BadParameter(f"{text!r} would delete nothing; leave the option out")
    return kept


def not_empty(text: object) -> str:
    words = str(text).strip()
    if not words:
        raise typer.BadParameter("it is empty; say why in a few words")
    return words


def saga_id(text: object) -> str:
    """An id as the contract allows it: others cannot exist."""
    from messaging.contract import SAGA_ID

    if not SAGA_ID.fullmatch(str(text)):
        raise typer.BadParameter(f"{text!r} is no saga id; use 1 to 200 of A-Za-z0-9._:@-")
    return str(text)


def saga_state(text: object) -> str:
    from orchestrator.saga.state import SagaState

    if str(text) not in set(SagaState):
        raise typer.BadParameter(f"{text!r} is no state; use one of {', '.join(SagaState)}")
    return str(text)


def choreography_state(text: object) -> str:
    from orchestrator.store.choreographies import STATES

    if str(text) not in STATES:
        raise typer.BadParameter(f"{text!r} is no state; use one of {', '.join(STATES)}")
    return str(text)


def person(by: str | None) -> str:
    """Who does it: by default whoever the operating system says we are."""
    import getpass
    import os

    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid-{os.getuid()}"


SagaId = Annotated[str, typer.Argument(metavar="ID", parser=saga_id, help="The saga's id.")]
LetterId = Annotated[
    int,
    typer.Argument(
        metavar="ID",
        parser=whole_number(1),
        help="The dead letter's number, as `saga dlq list` shows it.",
    ),
]
OutputOption = Annotated[
    Output,
    typer.Option("-o", "--output", metavar="table|json", help="For people, or for scripts."),
]
Limit = Annotated[
    int,
    typer.Option(metavar="N", parser=whole_number(1, 1000), help="At most so many, up to 1000."),
]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", parser=not_empty, help="Why: it is kept with the change.")
]
By = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who does it. [default: the user of the operating system]"),
]
Timeout = Annotated[
    timedelta | None,
    typer.Option(
        metavar="DURATION", parser=duration, help="Wait no longer: `30`, `30s`, `5m`, `1h30m`."
    ),
]
Modules = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODULE[:CLASS]",
        help="Saga definitions, whose participants' queues belong to it, participants, or "
        "choreographed services.",
    ),
]
