"""A program that dies while it handles a batch: each effect once, each command answered."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from messaging.contract import ReplyType
from tests.participants.desk import Desk, command
from tests.participants.test_program import desk, effects, ended, program

__all__ = ["desk"]

MANY = 30
SERVICES = """
from sqlalchemy import text
from participants import Context, Participant

service = Participant("TestService")

@service.prepare
async def create(connection):
    await connection.execute(text("CREATE TABLE IF NOT EXISTS effects (saga_id text)"))

@service.action("Act", batch=True)
async def act(command: dict, context: Context):
    query = text("INSERT INTO effects VALUES (:saga_id)")
    await context.session.execute(query, {"saga_id": context.saga_id})
    return {"saga": context.saga_id}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "guard_before_batch_commit",
        "guard_after_batch_commit",
        "participant_before_publish",
        "participant_before_ack",
    ],
)
async def test_a_program_killed_within_a_batch_has_done_everything_once(
    desk: Desk, tmp_path: Path, amqp_url: str, empty_database_url: str, point: str
) -> None:
    (tmp_path / "batched_services.py").write_text(SERVICES)
    settings = {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_INBOX_URL": empty_database_url,
        "SAGA_NAMESPACE": desk.names.namespace,
    }
    deadly = {"SAGA_FAILPOINTS": f"{point}=kill@1", "SAGA_TEST_BUILD": "1"}
    sagas = [f"order-{number}" for number in range(MANY)]
    await desk.send(*(command("TestService.Act", saga) for saga in sagas))
    with program(tmp_path, "batched_services", **settings, **deadly) as process:
        code, log = ended(process)
    assert code == -signal.SIGKILL, log
    done_before = effects(empty_database_url)
    with program(tmp_path, "batched_services", **settings):
        answered = set()
        while answered != set(sagas):
            reply = await desk.reply()
            assert (reply.type, reply.result) == (
                ReplyType.STEP_COMPLETED,
                {"saga": reply.saga_id},
            )
            answered.add(reply.saga_id)
    assert Counter(effects(empty_database_url)) == Counter(sagas)
    assert bool(done_before) is (point != "guard_before_batch_commit")
