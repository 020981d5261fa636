"""The settings of every program: flag > environment > `.env` > secret files > default."""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from chassis.durations import Duration
from chassis.secret_files import PREFIX, SecretFiles
from chassis.setting_problems import known_fields, problem_lines, unknown_variables
from chassis.setting_types import (
    AmqpUrl,
    DatabaseUrl,
    HttpUrl,
    LogFormat,
    LogLevel,
    Namespace,
    Port,
    Prefetch,
    Retention,
    SecretWords,
    TopologyChoice,
    Users,
    checked_text,
)
from chassis.urls import is_in_clear
from messaging.errors import ConfigurationError
from messaging.topology import TopologyMode

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

_log = logging.getLogger(__name__)
S = TypeVar("S", bound="Settings")


def load(settings_class: type[S], **flags: Any) -> S:
    """The settings of a program. `flags` go first; those that are None were not given.

    Raises ConfigurationError with one line for each problem: variable, value (masked if it
    is a secret) and remedy. Warns about `SAGA_` variables that do not exist.
    """
    surplus = flags.keys() - settings_class.model_fields.keys()
    if surplus:
        raise TypeError(f"{settings_class.__name__} has no {', '.join(sorted(surplus))}")
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        for sentence in unknown_variables(settings_class.variables(), known_fields(Settings)):
            _log.warning("%s", sentence)
        return settings_class(**given)
    except ValidationError as error:
        variables = settings_class.variables()
        lines = problem_lines(error, settings_class.model_fields, given, variables)
        raise ConfigurationError("\n".join(lines)) from None  # the cause would show secrets
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read .env: {error}") from error


class Settings(BaseSettings):
    """What every program reads. Use `load`, which turns problems into ConfigurationError."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    amqp_url: AmqpUrl = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        description="The broker: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, `amqps://…` or `memory://`"
        " (inside one process).",
    )
    database_url: DatabaseUrl | None = Field(
        None,
        description="The saga database: `postgresql://…`, or for a trial `sqlite:///FILE`. There is"
        " no default: a database that nobody chose would be lost with its container.",
    )
    namespace: Namespace = Field(
        "saga",
        description="First part of every exchange and queue name; one per installation on a vhost.",
    )
    topology: TopologyChoice = Field(
        TopologyMode.DECLARE,
        description="`declare` what is used, `verify` and refuse to start on a difference, or"
        " `ignore`: no permission to configure is needed.",
    )
    http_host: str = Field(
        "0.0.0.0",  # noqa: S104  # probes and scrapers come from outside the container
        min_length=1,
        description="Address for `/livez`, `/readyz` and `/metrics`. They show no payloads; where"
        " the network is not trusted, choose `127.0.0.1`.",
    )
    http_port: Port = Field(0, description="Port for them; 0 turns them off.")
    log_format: LogFormat = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json",
        description="`console` or `json`.",
        json_schema_extra={"default_text": "`console` on a terminal, else `json`"},
    )
    log_level: LogLevel = Field("info", description="`debug`, `info`, `warning` or `error`.")
    drain_timeout: Duration = Field(
        20 * SECOND,
        ge=SECOND,
        le=25 * SECOND,
        description="How long a program may finish its work after SIGTERM; at most 25 s.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_clean(cls, value: object) -> object:
        return checked_text(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings  # replaced: ours knows `_FILE`, limits and FIFOs
        files = SecretFiles(settings_cls, cls.variables())
        return init_settings, env_settings, dotenv_settings, files

    @classmethod
    def variables(cls) -> Mapping[str, str | None]:
        """The environment over `.env`, names in lower case."""
        return {**DotEnvSettingsSource(cls).env_vars, **EnvSettingsSource(cls).env_vars}

    def required_database_url(self) -> str:
        """The database's URL, with its password, for programs that cannot do without."""
        if self.database_url is None:
            raise ConfigurationError(
                "SAGA_DATABASE_URL is not set; for example"
                " postgresql://saga:PASSWORD@localhost/saga, or sqlite:///countermand.sqlite"
                " for a trial on one machine"
            )
        return self.database_url.get_secret_value()

    def cautions(self) -> Sequence[str]:
        """What works but deserves a warning at start."""
        if is_in_clear(self.amqp_url.get_secret_value()):
            caution = (
                "SAGA_AMQP_URL sends its password unencrypted to another machine;"
                " use amqps:// unless the network is trusted"
            )
            return [caution]
        return []


class RetentionSettings(Settings):
    """What programs read that keep sagas."""

    retention_completed: Retention = Field(
        30 * DAY,
        description="How long completed sagas are kept, with their history; `never` or `0`: they"
        " are never deleted.",
    )
    retention_failed: Retention = Field(
        180 * DAY,
        description="The same for failed sagas. Those with an open dead letter or alert stay.",
    )


class OrchestratorSettings(RetentionSettings):
    """`saga orchestrator run`."""

    http_port: Port = Field(8080, description="Port for them; 0 turns them off.")
    prefetch: Prefetch = Field(1000, description="Replies held unacknowledged at a time.")
    batch_size: int = Field(250, ge=1, le=10_000, description="Most replies in one transaction.")
    admission_limit: int = Field(
        500,
        ge=0,
        le=1_000_000,
        description="Starts wait in their queue while so many sagas of the last 5 s wait for their"
        " first reply; 0 lets all in.",
    )
    stuck_after: Duration = Field(
        10 * MINUTE, ge=SECOND, description="A saga that has not moved for so long counts as stuck."
    )
    poll_interval: Duration = Field(
        SECOND,
        ge=SECOND / 100,
        le=MINUTE,
        description="How often due timers are looked for when nothing announces them.",
    )
    require_user_id: bool = Field(
        False, description="Accept replies only from the broker user of the step's participant."
    )
    participant_users: Annotated[Users, NoDecode] = Field(
        default_factory=dict,
        description="Those users, as `Participant=user,…`; who is not listed is its own user.",
    )
    migrate: bool = Field(False, description="Bring the schema up to date at start.")


class ParticipantSettings(Settings):
    """`saga participants run`."""

    http_port: Port = Field(8081, description="Port for them; 0 turns them off.")
    inbox_url: DatabaseUrl | None = Field(
        None,
        description="The participant's own database, where the guard keeps its inbox. Without it"
        " the inbox is in memory, for trials only.",
    )
    concurrency: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Commands handled at a time, by themselves; batches come on top.",
    )
    prefetch: Prefetch | None = Field(
        None,
        description="Commands held unacknowledged at a time, for each participant.",
        json_schema_extra={
            "default_text": "twice `SAGA_CONCURRENCY`; at least 500 for participants with batches"
        },
    )


class DlqSettings(Settings):
    """`saga dlq run`."""

    http_port: Port = Field(8082, description="Port for them; 0 turns them off.")
    prefetch: Prefetch = Field(100, description="Dead letters held unacknowledged at a time.")
    poll_interval: Duration = Field(
        SECOND, ge=SECOND / 100, le=MINUTE, description="How often due replays are looked for."
    )
    replay_limit: int = Field(
        5, ge=0, le=100, description="Replays before a person is called; 0 calls at once."
    )
    replay_base: Duration = Field(
        10 * SECOND, ge=SECOND, description="Pause before the first replay; it doubles each time."
    )
    replay_maximum: Duration = Field(
        60 * MINUTE, ge=SECOND, description="The longest pause between two replays."
    )
    alert_webhook_url: HttpUrl | None = Field(
        None, description="Alerts are posted here as JSON (`http://` or `https://`)."
    )
    alert_webhook_secret: SecretStr | None = Field(
        None, min_length=1, description="Key of the HMAC-SHA256 signature on those posts."
    )
    alertmanager_url: HttpUrl | None = Field(
        None, description="Base URL of a Prometheus Alertmanager."
    )
    alert_apprise_urls: Annotated[SecretWords, NoDecode] = Field(
        (),
        description="Apprise URLs (mail, Slack, PagerDuty, …), separated by commas or spaces;"
        " needs the extra `alerts`.",
    )
    alert_repeat_every: Duration = Field(
        15 * MINUTE, ge=SECOND, description="An alert is repeated so often until acknowledged."
    )
    alert_timeout: Duration = Field(
        10 * SECOND, ge=SECOND, le=MINUTE, description="How long one delivery of an alert may take."
    )
    retention_failed: Retention = Field(
        180 * DAY,
        description="How long dead letters and alerts are kept after they were closed; `never` or"
        " `0`: they are never deleted.",
    )
    console_url: HttpUrl | None = Field(
        None, description="Base URL of the console, for links in alerts."
    )


class RecorderSettings(RetentionSettings):
    """`saga choreography run`."""

    http_port: Port = Field(8083, description="Port for them; 0 turns them off.")
    poll_interval: Duration = Field(SECOND, ge=SECOND / 100, description="How often it looks.")
    quiet_after: Duration = Field(
        10 * MINUTE,
        ge=SECOND,
        description="A saga without an event for so long is quiet, if its start says nothing.",
    )


class ConsoleSettings(Settings):
    """The web console."""

    http_host: str = Field("127.0.0.1", min_length=1, description="Address of the console.")
    http_port: Port = Field(8000, ge=1, description="Port of the console.")
