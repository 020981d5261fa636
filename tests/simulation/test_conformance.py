"""The simulator's store and inbox keep the promises of the ports, by the ports' own suites."""

import time

import pytest

from tests.conformance.test_inbox import *  # noqa: F403
from tests.simulation.database import Database
from tests.simulation.inbox import SimulatedInbox
from tests.simulation.store import SimulatedStore
