"""A run that went wrong shows no numbers."""

import pytest

from bench.audit import audit_database, audit_outcomes
from bench.driver import BrokenRun, Driven
from bench.sites import Servers, Site
from bench.workloads import LINE, WORKLOADS
from messaging.topology import Names
from orchestrator.store.stores import store_for


def _driven(*, started: int, failed: int = 0) -> Driven:
    return Driven(
        finished=1, window=1.0, latencies=[0.1], lone=[0.1], started=started, failed=failed
    )


def test_sagas_must_end_as_they_should() -> None:
    audit_outcomes(_driven(started=10), LINE)
    audit_outcomes(_driven(started=25, failed=2), WORKLOADS["mixed"])
    with pytest.raises(BrokenRun, match="1 of 10 sagas failed, 0 were to"):
        audit_outcomes(_driven(started=10, failed=1), LINE)
    with pytest.raises(BrokenRun, match="0 of 10 sagas failed, 10 were to"):
        audit_outcomes(_driven(started=10), WORKLOADS["back"])


async def test_what_was_heard_of_must_be_in_the_database(empty_database_url: str) -> None:
    store = store_for(empty_database_url)
    await store.upgrade()
    await store.close()
    servers = Servers(amqp_url="", postgres_url="", rabbit_pid=None, postgres_pid=None)
    site = Site(
        servers=servers, names=Names("b"), saga_database=empty_database_url, inbox_database=""
    )
    audit_database(site, _driven(started=0), LINE)
    with pytest.raises(BrokenRun, match=r"the database has \{\}, but"):
        audit_database(site, _driven(started=3), LINE)
