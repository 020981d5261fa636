"""Two small services: the first does something, the second answers, and what went wrong undoes."""

from dataclasses import dataclass, field
from typing import Any

from participants import Choreography, Emit, EventContext, StepFailed


@dataclass
class Diary:
    """What handlers have done, in order."""

    lines: list[str] = field(default_factory=list)

    def write(self, line: str) -> None:
        self.lines.append(line)


def first_service(diary: Diary) -> Choreography:
    first = Choreography("First")
    first.starts("Begun", saga_type="TestSaga")
    first.ends("Ended").ends("Abandoned", failed=True)

    @first.on("Asked", fails="Denied")
    async def do(event: dict[str, Any], context: EventContext) -> Emit:
        diary.write(f"do {event.get('thing')}")
        if event.get("thing") == "impossible":
            raise StepFailed("that is impossible")
        return Emit("Done", {"thing": event.get("thing")})

    @first.compensates("Refused")
    async def undo(event: dict[str, Any], context: EventContext) -> Emit:
        done = context.original_result
        diary.write(f"undo {done['thing'] if done else 'nothing'}")
        return Emit("Abandoned")

    @first.on("Confirmed")
    async def end(event: dict[str, Any], context: EventContext) -> Emit:
        return Emit("Ended")

    return first


def second_service(diary: Diary) -> Choreography:
    second = Choreography("Second")

    @second.on("Done", fails="Refused")
    async def confirm(event: dict[str, Any], context: EventContext) -> list[Emit]:
        diary.write(f"confirm {event['thing']}")
        if event["thing"] == "unwanted":
            raise StepFailed("nobody wants that")
        return [Emit("Confirmed"), Emit("Noted", {"hops": context.saga.hops})]

    return second
