"""Whether a run did what it was to do: every saga ended, and ended as it should."""

from typing import Final

import aio_pika
import psycopg

from bench.driver import BrokenRun, Driven, prefix_of
from bench.sites import Site
from bench.workloads import Workload

_STATES: Final = "SELECT state, count(*) FROM sagas WHERE saga_id LIKE %s GROUP BY state"
_GAPS: Final = """
    SELECT s.saga_id, s.version, count(h.version)
    FROM sagas s LEFT JOIN saga_history h USING (saga_id)
    WHERE s.saga_id LIKE %s GROUP BY s.saga_id HAVING count(h.version) <> s.version LIMIT 10
"""


def audit_outcomes(driven: Driven, workload: Workload) -> None:
    """By the events. Raises BrokenRun."""
    wrong = sum(workload.type_of(each) == "BenchBack" for each in range(driven.started))
    if driven.failed != wrong:
        raise BrokenRun(f"{driven.failed} of {driven.started} sagas failed, {wrong} were to")


async def audit_letters(site: Site) -> None:
    """Nothing went to the dead letters. Raises BrokenRun."""
    async with await aio_pika.connect(site.servers.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(site.names.dead_letters, passive=True)
        if count := queue.declaration_result.message_count:
            raise BrokenRun(f"{count} dead letters")


def audit_database(site: Site, driven: Driven, workload: Workload) -> None:
    """By the rows: all there, all ended, their histories without a gap. Raises BrokenRun."""
    ours = [f"{prefix_of(site.names, workload)}-%"]
    with psycopg.connect(site.saga_database) as connection:
        states: dict[str, int] = dict(connection.execute(_STATES, ours).fetchall())
        gaps = connection.execute(_GAPS, ours).fetchall()
    expected = {"completed": driven.started - driven.failed, "failed": driven.failed}
    if states != {state: count for state, count in expected.items() if count}:
        raise BrokenRun(f"the database has {states}, but {expected} were heard of")
    if gaps:
        raise BrokenRun(f"{len(gaps)} sagas have a history with gaps, for example {gaps[0]}")
