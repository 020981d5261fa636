"""Targets: what people write: settings, URLs, durations, definitions, data on a command line."""

import os
from datetime import timedelta
from typing import Any, Final
from unittest.mock import patch

import typer
from hypothesis import strategies as st

from chassis.durations import parse_duration, spoken
from chassis.settings import (
    ConsoleSettings,
    DlqSettings,
    OrchestratorSettings,
    ParticipantSettings,
    Settings,
    load,
)
from chassis.urls import checked_amqp_url, checked_database_url, checked_http_url, masked
from messaging.errors import ConfigurationError, DefinitionError
from messaging.rabbit_url import parse_address
from orchestrator import RetryPolicy, SagaOrchestrator, SagaStep
from orchestrator.cli.given import json_object
from orchestrator.planning import plan_for
from orchestrator.store.engines import database_url_of, postgres_arguments
from participants.sql_engine import engine_for
from tests.fuzzing.inputs import ANY_TEXT, BODIES, HUGE, mutated
from tests.fuzzing.target import target

SECRET: Final = "hunter2"
LONGEST: Final = timedelta(days=3650)
MAX_PROBLEM: Final = 1000

DURATIONS: Final = (
    ANY_TEXT
    | st.from_regex(r"[0-9.]{0,12}(ms|s|m|h|d|)([0-9]{1,4}(ms|s|m|h|d))?", fullmatch=True)
    | st.from_regex(r"P[0-9DTHMS.]{0,12}", fullmatch=True)
    | st.just("9" * 5000)
)


@target(DURATIONS, examples=100)
def a_duration_is_read_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        assert len(str(error)) < MAX_PROBLEM
        return
    assert timedelta(0) <= duration <= LONGEST
    assert abs(parse_duration(spoken(duration)) - duration) <= timedelta(milliseconds=1)


PIECES: Final = st.sampled_from(
    [
        *("amqp", "amqps", "http", "postgresql", "sqlite", "memory", "://", ":", "/", "@", "?"),
        *("u", SECRET, "h", "[::1]", "[", "]", "127.0.0.1", "5672", "99999", "9" * 5000, "%", "#"),
        *("heartbeat=", "10", "auth=external", "&", "=", ",", "host=", "port=x", "h1:1,h2:2"),
        *("%40", "%00", "%ff", "\u2100", "\uff0f", "\ud800", "\0", " ", "\n", "db", "sslmode=x"),
        *("options=-c", "connect_timeout=x", "target_session_attrs=read-write", "file:", "mode=ro"),
    ]
)
URLS: Final = (
    st.builds(
        lambda scheme, rest: f"{scheme}://u:{SECRET}@{''.join(rest)}",
        st.sampled_from(["amqp", "amqps", "postgresql", "sqlite", "http"]),
        st.lists(PIECES, max_size=9),
    )
    | st.lists(PIECES, max_size=12).map("".join)
    | ANY_TEXT
)


@target(URLS, examples=200)
def a_url_is_usable_or_refused(url: str) -> None:
    """What the settings have let through is refused by nothing but a ConfigurationError."""
    for check, uses in (
        (checked_amqp_url, _use_of_broker),
        (checked_database_url, _use_of_database),
        (checked_http_url, str),
    ):
        try:
            checked = check(url)
        except ValueError as error:
            assert not isinstance(error, UnicodeError)
            assert SECRET not in str(error) or f"heartbeat={SECRET}" in str(error)
            continue
        try:
            uses(checked)
        except ConfigurationError as error:
            assert f":{SECRET}@" not in str(error)
    if url.startswith(f"amqp://u:{SECRET}@"):
        assert f":{SECRET}@" not in masked(url)


def _use_of_broker(url: str) -> None:
    if not url.startswith("memory:"):
        parse_address(url).connect_arguments()


def _use_of_database(url: str) -> None:
    made = database_url_of(url)
    if made.get_backend_name() == "postgresql":
        postgres_arguments(made)
        engine_for(url, 1)


PROGRAMS: Final = (OrchestratorSettings, ParticipantSettings, DlqSettings, ConsoleSettings)
VARIABLES: Final = sorted({name for program in PROGRAMS for name in program.model_fields})
SETTINGS: Final = st.dictionaries(
    st.sampled_from([f"SAGA_{name.upper()}" for name in VARIABLES]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    | DURATIONS.filter(lambda text: "\0" not in text and text.isascii())
    | URLS.filter(lambda url: "\0" not in url and "\ud800" not in url and len(url) < 400)
    | st.sampled_from(["0", "1", "-1", "true", "json", "1e9", "A=b", "A=b,A=c", "\udcff"]),
    max_size=6,
)


@target(st.tuples(st.sampled_from(PROGRAMS), SETTINGS), examples=60)
def settings_are_usable_or_refused(said: tuple[type[Settings], dict[str, str]]) -> None:
    program, variables = said
    with patch.dict(os.environ, _encodable(variables), clear=True):
        try:
            settings = load(program)
        except ConfigurationError as error:
            for line in str(error).split("\n"):
                assert f":{SECRET}@" not in line or "_URL" not in line
                assert line.isprintable()
                assert len(line) < MAX_PROBLEM
        else:
            shown = {
                name: repr(getattr(settings, name)) for name in variables_with_secrets(program)
            }
            assert [name for name, text in shown.items() if SECRET in text] == []


def variables_with_secrets(program: type[Settings]) -> list[str]:
    return [name for name in program.model_fields if name.endswith(("_url", "_urls", "_secret"))]


def _encodable(variables: dict[str, str]) -> dict[str, str]:
    """As an environment can hold them: bytes that are not UTF-8 are half surrogate pairs."""
    return {
        name: value.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        for name, value in variables.items()
        if not any("\ud800" <= each < "\udc80" or "\udcff" < each <= "\udfff" for each in value)
    }


ANYTHING: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    ANY_TEXT,
    HUGE,
    st.timedeltas(),
    st.lists(ANY_TEXT, max_size=3),
    st.dictionaries(ANY_TEXT, st.integers(), max_size=2),
    st.sampled_from(["A.B", "compensate", "resend", float("nan"), timedelta(seconds=1)]),
)
POLICIES: Final = st.builds(
    RetryPolicy,
    **dict.fromkeys(("max_attempts", "initial", "maximum", "multiplier", "jitter"), ANYTHING),
)
STEPS: Final = st.builds(
    SagaStep,
    name=st.sampled_from(["a", "b", "c"]) | ANYTHING,
    action=st.just("A.B") | ANYTHING,
    compensation=st.just("A.B") | ANYTHING,
    timeout=st.none() | ANYTHING,
    retry=st.none() | POLICIES | ANYTHING,
    compensation_retry=st.none() | POLICIES,
    on_timeout=st.just("resend") | ANYTHING,
    payload=st.none() | ANYTHING,
    pivot=st.booleans() | ANYTHING,
)
GOOD_STEPS: Final = st.builds(
    SagaStep, name=st.sampled_from(["a", "b", "c", "d"]), action=st.just("A.B"), pivot=st.booleans()
)
DEFINITIONS: Final = st.tuples(
    st.lists(STEPS | GOOD_STEPS | st.lists(STEPS | GOOD_STEPS, max_size=3), max_size=4) | ANYTHING,
    st.none() | st.dictionaries(ANY_TEXT | st.just("a"), ANYTHING, max_size=2),
)


@target(DEFINITIONS, examples=100)
def a_definition_is_planned_or_refused(said: tuple[Any, Any]) -> None:
    steps, timeouts = said

    class Fuzzed(SagaOrchestrator):
        saga_type = "Fuzzed"
        STEP_TIMEOUTS = timeouts or {}

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return steps  # type: ignore[no-any-return]  # that is what is tried

    try:
        plan = plan_for(Fuzzed(), {})
    except DefinitionError as error:
        assert len(str(error)) < MAX_PROBLEM
        assert str(error).encode()
    else:
        assert plan
        assert len({step.name for step in plan}) == len(plan)


@target(mutated(BODIES, most=2).filter(lambda body: not body.startswith((b"@", b"-"))))
def data_on_a_command_line_are_an_object_or_a_usage_error(body: bytes) -> None:
    text = body.replace(b"\0", b"").decode(errors="surrogateescape")
    try:
        value = json_object(text, "--data")
    except typer.BadParameter as error:
        assert len(error.message) < MAX_PROBLEM
        assert error.message.isprintable()
    else:
        assert isinstance(value, dict)
