"""The programs that a broker user can be meant for, and what each needs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from messaging.contract import ReplyType, StartType
from messaging.rabbit_permissions import Permissions, Write
from messaging.topology import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one program reads and writes; the same as `messaging.definitions` grants."""

    program: str
    reads: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()

    def fits(self, allowed: Permissions) -> bool:
        return allowed.reads.issuperset(self.reads) and allowed.writes.issuperset(self.writes)


def works(names: Names, participants: Sequence[str]) -> tuple[Work, ...]:
    starts = Write(names.starts, StartType.START)
    commands = Write(names.commands, "Doctor.Question")
    replies = Write(names.replies, ReplyType.STEP_COMPLETED)
    return (
        Work(
            program="orchestrator",
            reads=(names.starts, names.replies),
            writes=(
                commands,
                Write(names.events, "DoctorQuestion"),
                Write(names.dead, "compensation"),
            ),
        ),
        Work(
            program="dlq worker",
            reads=(names.dead_letters,),
            writes=(starts, commands, replies),
        ),
        Work(program="client", writes=(starts,)),
        *(_of_participant(names, each, replies) for each in sorted(participants)),
    )


def _of_participant(names: Names, participant: str, replies: Write) -> Work:
    queue = names.commands_for(participant)
    return Work(
        program=participant,
        reads=(queue,),
        writes=(replies, Write(names.dead, f"rejected.{queue}")),
    )
