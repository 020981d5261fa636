"""The simulator's store and inbox keep what the ports promise, by the ports' own suites."""

import time
from typing import Any

import pytest
from conformance import test_inbox as inbox_suite
from conformance import test_inbox_together as together_suite
from conformance import test_store as store_suite

from participants.inbox import Inbox
from tests.simulation.database import Database
from tests.simulation.inbox import SimulatedInbox
from tests.simulation.store import SimulatedStore

# The others look into a SQL database, or ask for what the simulated programs do not use.
_OF_STORE = (
    "test_an_outbound_body_is_kept_byte_by_byte",
    "test_sagas_that_do_not_exist_are_not_among_the_locked",
    "test_data_that_did_not_change_is_kept",
    "test_a_decision_that_changed_nothing_is_not_saved",
    "test_time_goes_on_between_transactions",
    "test_of_two_that_insert_one_id_at_once_one_is_told_that_it_is_taken",
    "test_nothing_to_insert_is_no_trouble",
    "test_a_cancelled_transaction_leaves_nothing_behind",
    "test_batches_that_overlap_in_any_order_do_not_deadlock",
    "test_saving_a_saga_that_is_gone_is_a_conflict",
    "test_due_sagas_come_oldest_first_and_no_more_than_asked_for",
    "test_a_deadline_of_a_step_wakes_the_saga",
    "test_a_saga_to_be_planned_goes_only_to_those_who_know_its_type",
    "test_a_due_saga_goes_to_one_of_two_that_look_at_once",
    "test_the_outlook_tells_the_next_moment_to_wake",
    "test_the_outlook_tells_whether_a_saga_is_due",
    "test_the_outlook_is_of_the_epoch_that_transactions_are_in",
    "test_what_nobody_takes_for_long_is_due_but_no_reason_to_wake",
    "test_a_notification_between_two_waits_is_not_lost",
    "test_without_a_notification_the_wait_ends_in_time",
)
globals().update({name: getattr(store_suite, name) for name in _OF_STORE})
for suite in (inbox_suite, together_suite):
    globals().update({name: test for name, test in vars(suite).items() if name.startswith("test_")})


@pytest.fixture
def store() -> Any:
    return SimulatedStore(Database(time.monotonic))


@pytest.fixture
def inbox() -> Inbox:
    return SimulatedInbox(Database(time.monotonic))
