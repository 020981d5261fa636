"""`saga demo` from the outside: what it prints, how it ends, what can be done afterwards."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_stories import ESCAPE, SAGA, Told, ran

from orchestrator.client import SagaClient
from orchestrator.demo.installation import databases_in, programs_at_work
from orchestrator.demo.ledgers import audit
from orchestrator.demo.orders import STEPS
from orchestrator.demo.tally import Tally

Demo = Callable[..., Told]


def test_every_kind_of_order_ends_as_expected_and_the_books_balance(demo: Demo) -> None:
    told = demo(16, as_json=True)
    assert told.code == 0
    assert told.value["as_expected"] is True
    assert told.value["problems"] == told.value["remarks"] == []
    endings = {each["kind"]: each for each in told.value["outcomes"]}
    assert len(endings) == 8
    assert endings["no trouble"]["completed"] == 9
    assert endings["refund never succeeds"]["halted"] == 1
    assert sum(each["failed"] for each in endings.values()) == 6
    assert told.value["books"]["balance"] is True
    assert told.value["books"]["half_undone"] == {
        "order-1": {
            "stand": ["reserve_inventory", "process_payment"],
            "undone": ["create_shipment"],
        }
    }
    assert told.value["compensation_retries"] == 4 + 2 + 1
    assert told.value["seconds"] < 60
    (letter,), (alert,) = told.value["dead_letters"], told.value["alerts"]
    assert (letter["saga_id"], letter["replays"], letter["status"]) == ("order-1", 3, "open")
    assert letter["alert"]["times_sent"] == 1
    assert (alert["saga_id"], alert["severity"]) == ("order-1", "critical")


@pytest.mark.slow
def test_the_page_in_a_pipe_is_plain_and_its_commands_work_as_they_stand(
    tmp_path: Path, kept: Path
) -> None:
    told = ran(SAGA, "demo", "--sagas", "8", cwd=tmp_path, TMPDIR=str(kept))
    assert (told.code, told.err) == (0, "")
    assert ESCAPE not in told.out
    assert "\r" not in told.out
    assert "The books balance." in told.out
    assert "critical: the compensation still fails after 3 replays" in told.out
    assert max(len(line) for line in told.out.splitlines() if SAGA not in line) <= 80
    show, resolve = told.commands
    shown = ran("bash", "-c", show, cwd=tmp_path)
    assert shown.code == 0
    assert "a person must resolve dead letter 1" in shown.out
    resolved = ran("bash", "-c", resolve, cwd=tmp_path)
    assert (resolved.code, resolved.err) == (0, "")
    assert ran("bash", "-c", resolve, cwd=tmp_path).code == 4  # it is closed now
    (folder,) = kept.iterdir()
    asyncio.run(_an_orchestrator_undoes_the_rest(folder))


async def _an_orchestrator_undoes_the_rest(folder: Path) -> None:
    async with databases_in(folder) as databases, SagaClient(databases.url) as client:
        tally = Tally(1)
        async with programs_at_work(databases, tally.observe, tally):
            assert await client.wait("order-1", timeout=20) == "failed"
        books = await audit(databases.inbox.engine, [], {})
    left = [line.done - line.undone for line in books.lines]
    assert left == [1, 2, 1, 1]  # the refund was only said to be done


@pytest.mark.parametrize("step", STEPS)
def test_all_orders_fail_at_the_step_that_is_named(demo: Demo, step: str) -> None:
    told = demo(5, step, as_json=True)
    assert told.code == 0
    (outcome,) = told.value["outcomes"]
    assert (outcome["kind"], outcome["orders"], outcome["failed"]) == (f"{step} fails", 5, 5)
    ledgers = {line["step"]: line for line in told.value["books"]["ledgers"]}
    before = STEPS[: STEPS.index(step)]
    assert [ledgers[each]["done"] for each in STEPS] == [5 * (each in before) for each in STEPS]
    assert all(line["stands"] == 0 for line in ledgers.values())
    assert told.value["dead_letters"] == told.value["alerts"] == []


def test_without_a_dead_letter_the_page_says_what_else_to_look_at(demo: Demo) -> None:
    told = demo(3, "create_shipment")
    assert "Dead letter" not in told.out
    for command in told.commands:
        looked = ran("bash", "-c", command, cwd=Path.cwd())
        assert (looked.code, looked.err) == (0, "")
        assert "order-1" in looked.out


def test_a_step_that_does_not_exist_is_refused_with_the_four_that_do(
    demo: Demo, kept: Path
) -> None:
    told = demo(3, "ship_it")
    assert (told.code, told.out) == (2, "")
    assert told.err.count("\n") == 1
    for word in ("'ship_it'", *STEPS):
        assert word in told.err
    assert list(kept.iterdir()) == []


def test_no_setting_of_the_user_reaches_the_demo(tmp_path: Path, kept: Path) -> None:
    (tmp_path / ".env").write_text("SAGA_POLL_INTERVAL=never\nSAGA_REPLAY_LIMIT=0\n")
    settings = {
        "SAGA_AMQP_URL": "amqp://nobody:wrong@127.0.0.1:1/",
        "SAGA_DATABASE_URL": "postgresql://127.0.0.1:1/nothing",
        "SAGA_INBOX_URL": "rubbish",
        "SAGA_NAMESPACE": "other",
        "SAGA_REQUIRE_USER_ID": "true",
        "SAGA_HTTP_PORT": "x",
    }
    command = (SAGA, "demo", "--sagas", "2", "--fail", "process_payment")
    told = ran(*command, cwd=tmp_path, TMPDIR=str(kept), **settings)
    assert (told.code, told.err) == (0, "")
