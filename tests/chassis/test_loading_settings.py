"""Settings: where they come from, and what is said when they cannot be used."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from chassis.durations import parse_duration, spoken
from chassis.settings import (
    ConsoleSettings,
    DlqSettings,
    OrchestratorSettings,
    ParticipantSettings,
    Settings,
    load,
)
from messaging.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("environment")


def problems_of(settings_class: type[Settings], **flags: object) -> list[str]:
    with pytest.raises(ConfigurationError) as failure:
        load(settings_class, **flags)
    return str(failure.value).splitlines()


def test_a_newcomer_needs_no_settings_but_a_database() -> None:
    settings = load(OrchestratorSettings)
    assert settings.amqp_url.get_secret_value() == "amqp://guest:guest@127.0.0.1:5672/"
    assert (settings.namespace, settings.topology, settings.http_port) == ("saga", "declare", 8080)
    with pytest.raises(ConfigurationError, match=r"SAGA_DATABASE_URL is not set.*sqlite:///"):
        settings.required_database_url()


def test_every_program_has_its_own_port() -> None:
    classes = (OrchestratorSettings, ParticipantSettings, DlqSettings, ConsoleSettings)
    assert [load(each).http_port for each in classes] == [8080, 8081, 8082, 8000]


def test_a_flag_goes_before_the_environment_before_dotenv_before_files(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def namespace(**flags: object) -> str:
        return load(Settings, **flags).namespace

    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environment.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    (credentials / "saga_namespace").write_text("by-systemd\n")
    assert namespace() == "by-systemd"

    secrets = tmp_path / "secrets"
    secrets.mkdir()
    environment.setenv("SAGA_SECRETS_DIR", str(secrets))
    (secrets / "SAGA_NAMESPACE").write_text("by-directory\n")
    assert namespace() == "by-directory"

    (tmp_path / "named").write_text("by-file\n")
    environment.setenv("SAGA_NAMESPACE_FILE", str(tmp_path / "named"))
    assert namespace() == "by-file"

    (tmp_path / ".env").write_text("SAGA_NAMESPACE=by-dotenv\n")
    assert namespace() == "by-dotenv"

    environment.setenv("SAGA_NAMESPACE", "by-environment")
    assert namespace() == "by-environment"

    assert namespace(namespace="by-flag") == "by-flag"


def test_a_flag_that_was_not_given_counts_for_nothing(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_HTTP_PORT", "9000")
    assert load(OrchestratorSettings, http_port=None).http_port == 9000


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_HTTP_PORT", "")
    environment.setenv("SAGA_AMQP_URL", "")
    assert load(OrchestratorSettings).http_port == 8080


def test_dotenv_may_name_a_secret_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("amqp://saga:secret@broker/\n")
    (tmp_path / ".env").write_text(f"SAGA_AMQP_URL_FILE={tmp_path / 'url'}\n")
    assert load(Settings).amqp_url.get_secret_value() == "amqp://saga:secret@broker/"


def test_all_problems_are_told_at_once_each_with_its_variable_value_and_remedy(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SAGA_NAMESPACE", "two words")
    environment.setenv("SAGA_HTTP_PORT", "99999")
    environment.setenv("SAGA_STUCK_AFTER", "5 parsecs")
    remedy = "write seconds (90), units (90s, 5m, 1h30m) or ISO 8601 (PT5M)"
    assert problems_of(OrchestratorSettings, batch_size=0) == [
        "SAGA_NAMESPACE=two words: must match pattern '^[A-Za-z0-9_-]{1,40}$'",
        "SAGA_HTTP_PORT=99999: must be less than or equal to 65535",
        "--batch-size=0: must be greater than or equal to 1",
        f"SAGA_STUCK_AFTER=5 parsecs: is no duration; {remedy}",
    ]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://u:hunter2@h/", "SAGA_AMQP_URL=http://***: must begin with amqp://"),
        ("amqp://u:hunter2@h:port/", "SAGA_AMQP_URL=amqp://u:***@h:port/: has no valid port"),
        ("amqp://u:hun/ter2@h/", "SAGA_AMQP_URL=amqp://u:***@h/: has no valid port"),
        ("amqp://u:@h/", "SAGA_AMQP_URL=amqp://u:***@h/: has no user or no password"),
        ("amqp://h/", "SAGA_AMQP_URL=amqp://h/: has no user or no password"),
        ("amqp://u:hunter2@h/?heartbeat=10.5", "has heartbeat=10.5; write whole seconds"),
        ("amqp://u:hunter2@h/?heartbeat=0", "has heartbeat=0; write whole seconds"),
        ("amqp://u:hunter2@h/?heartbeat=61", "has heartbeat=61; write whole seconds"),
        ("amqp://u:hunter2@[h/", "SAGA_AMQP_URL=amqp://u:***@[h/: is no URL"),
        ("hunter2@h", "SAGA_AMQP_URL=***: must begin with amqp://"),
        ("amqp://u:hunter2\n@h/", "contains a control character"),
        ("\ufeffamqp://u:hunter2@h/", "contains a control character or a byte order mark"),
    ],
)
def test_a_broken_broker_url_is_explained_without_its_password(
    url: str, problem: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("SAGA_AMQP_URL", url)
    (line,) = problems_of(Settings)
    assert problem in line
    assert "hun" not in line


def test_a_password_shows_neither_in_the_settings_nor_in_the_cause_of_an_error(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SAGA_AMQP_URL", "amqp://u:hunter2@h/")
    environment.setenv("SAGA_ALERT_APPRISE_URLS", "slack://hunter2")
    assert "hunter2" not in repr(load(DlqSettings))
    environment.setenv("SAGA_AMQP_URL", "amqp://u:hunter2@h:x/")
    with pytest.raises(ConfigurationError) as failure:
        load(DlqSettings)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgres://u:p@h/db", "postgresql://u:p@h/db"),
        ("postgresql+psycopg://h/db", "postgresql://h/db"),
        ("postgresql://h1:5432,h2:5432/db", "postgresql://h1:5432,h2:5432/db"),
        ("sqlite:///saga.sqlite", "sqlite:///saga.sqlite"),
        ("sqlite+aiosqlite:////var/saga.sqlite", "sqlite:////var/saga.sqlite"),
    ],
)
def test_database_urls_come_in_one_form(given: str, kept: str) -> None:
    assert load(Settings, database_url=given).required_database_url() == kept


@pytest.mark.parametrize("url", ["mysql://h/db", "sqlite://saga.sqlite", "sqlite:///", "saga.db"])
def test_other_databases_are_refused(url: str) -> None:
    (line,) = problems_of(Settings, database_url=url)
    assert line.startswith("--database-url=")


def test_participants_users_are_pairs(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_PARTICIPANT_USERS", "Inventory=inventory, Payment=pay")
    users = load(OrchestratorSettings).participant_users
    assert users == {"Inventory": "inventory", "Payment": "pay"}
    for text, problem in (("Inventory", "list of pairs"), ("A=x,A=y", "names A twice")):
        environment.setenv("SAGA_PARTICIPANT_USERS", text)
        (line,) = problems_of(OrchestratorSettings)
        assert problem in line


def test_a_participant_prefetches_what_fits_its_handlers_unless_told(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SAGA_CONCURRENCY", "40")
    assert load(ParticipantSettings).prefetch is None
    assert load(ParticipantSettings, prefetch=7).prefetch == 7
    assert len(problems_of(ParticipantSettings, concurrency="many")) == 1


def test_choices_ignore_case(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_LOG_LEVEL", "WARNING")
    assert load(Settings).log_level == "warning"


def test_alert_urls_are_separated_by_commas_or_spaces(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_ALERT_APPRISE_URLS", "mailto://a, slack://b ")
    urls = [url.get_secret_value() for url in load(DlqSettings).alert_apprise_urls]
    assert urls == ["mailto://a", "slack://b"]


def test_a_drain_longer_than_25_seconds_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_DRAIN_TIMEOUT", "26s")
    assert problems_of(Settings) == [
        "SAGA_DRAIN_TIMEOUT=26s: must be less than or equal to 25 seconds"
    ]


def test_settings_cannot_be_changed() -> None:
    settings = load(Settings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.http_port = 1


def test_a_misspelt_variable_is_pointed_out_with_the_nearest_name(
    environment: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("SAGA_DATABSE_URL", "sqlite:///x")
    (tmp_path / ".env").write_text("SAGA_QQQQQQ=1\n")
    with caplog.at_level(logging.WARNING):
        load(Settings)
    assert [record.getMessage() for record in caplog.records] == [
        "SAGA_DATABSE_URL is not a setting and has no effect; did you mean SAGA_DATABASE_URL?",
        "SAGA_QQQQQQ is not a setting and has no effect",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SAGA_REPLAY_LIMIT",
        "SAGA_AMQP_URL_FILE",
        "SAGA_SECRETS_DIR",
        "SAGA_TEST_AMQP_URL",
        "SAGA_ORCHESTRATOR_SERVICE_HOST",
        "SAGA_ORCHESTRATOR_PORT_8080_TCP_ADDR",
        "SAGA_ORCHESTRATOR_PORT",
    ],
)
def test_variables_of_other_programs_tests_and_kubernetes_are_not_pointed_out(
    name: str, environment: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "url").write_text("amqp://u:p@h/")
    value = {
        "SAGA_AMQP_URL_FILE": str(tmp_path / "url"),
        "SAGA_ORCHESTRATOR_PORT": "tcp://10.0.0.1",
    }
    environment.setenv(name, value.get(name, "5"))
    load(OrchestratorSettings)
    assert not caplog.records


def test_an_unknown_flag_is_a_mistake_in_our_code() -> None:
    with pytest.raises(TypeError, match="Settings has no prot"):
        load(Settings, prot=1)


def test_a_dotenv_that_is_not_text_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    (line,) = problems_of(Settings)
    assert line.startswith("cannot read .env")


def test_a_password_in_the_clear_over_the_network_is_worth_a_caution() -> None:
    assert not load(Settings).cautions()
    assert not load(Settings, amqp_url="amqps://u:p@broker/").cautions()
    (caution,) = load(Settings, amqp_url="amqp://u:p@broker/").cautions()
    assert "amqps://" in caution


DURATIONS = [
    ("90", timedelta(seconds=90)),
    ("0.5", timedelta(seconds=0.5)),
    ("10s", timedelta(seconds=10)),
    ("250ms", timedelta(milliseconds=250)),
    ("5m", timedelta(minutes=5)),
    ("1h30m", timedelta(minutes=90)),
    ("2D", timedelta(days=2)),
    ("PT5M", timedelta(minutes=5)),
    ("P1DT1.5S", timedelta(days=1, seconds=1.5)),
]


@pytest.mark.parametrize(("text", "meaning"), DURATIONS)
def test_durations_are_read_as_people_write_them(text: str, meaning: timedelta) -> None:
    assert parse_duration(text) == meaning


@pytest.mark.parametrize(
    "text", ["", "-1", "1e18", "nan", "5 parsecs", "P", "PT", "s", "1s2", "4000d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "90s", "1h30m", "2d1ms"])
def test_a_spoken_duration_means_the_same_again(text: str) -> None:
    assert parse_duration(spoken(parse_duration(text))) == parse_duration(text)
