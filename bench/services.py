"""The same participants on our SDK: `saga participants run bench.services`.

Their handlers do nothing; the guard writes its row for every command all the same.
"""

from typing import Final

from bench.sagas import PARTICIPANTS
from participants import Context, Participant, StepFailed


async def _do(data: dict[str, object], context: Context) -> dict[str, str]:
    return {"reference": "R-1"}


async def _refuse(data: dict[str, object], context: Context) -> None:
    raise StepFailed("refused, as asked")


async def _undo(data: dict[str, object], context: Context) -> None:
    return None


def _participant(name: str) -> Participant:
    participant = Participant(name)
    participant.action("Do", batch=True)(_do)
    participant.action("Refuse", batch=True)(_refuse)
    participant.compensation("Undo", batch=True)(_undo)
    return participant


bench_a, bench_b, bench_c, bench_d = map(_participant, PARTICIPANTS)

ALL: Final = (bench_a, bench_b, bench_c, bench_d)
