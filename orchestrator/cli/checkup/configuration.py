"""The settings of all programs: can they be used, and are they wise."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from chassis.settings import (
    DlqSettings,
    OrchestratorSettings,
    ParticipantSettings,
    Settings,
    load,
)
from messaging.errors import ConfigurationError
from orchestrator.cli.checkup.finding import Finding, misconfigured, warning, well

CHECK: Final = "settings"
_OF_PROGRAMS: Final = (Settings, OrchestratorSettings, ParticipantSettings, DlqSettings)


def look_at_settings() -> tuple[Settings | None, list[Finding]]:
    """The settings that all programs share, None if they cannot be used; and what was found."""
    problems: dict[str, None] = {}
    settings: Settings | None = None
    with _heard() as warnings:
        for settings_class in _OF_PROGRAMS:
            try:
                loaded = load(settings_class)
            except ConfigurationError as error:
                problems |= dict.fromkeys(str(error).splitlines())
            else:
                settings = loaded if settings_class is Settings else settings
    findings = [misconfigured(CHECK, line, "correct the value") for line in problems]
    said = [*warnings, *(settings.cautions() if settings else ())]
    findings += [_caution(sentence) for sentence in dict.fromkeys(said)]
    if settings and not findings:
        detail = f"SAGA_NAMESPACE={settings.namespace}, SAGA_TOPOLOGY={settings.topology}"
        findings.append(well(CHECK, detail))
    return settings, findings


def inbox_url() -> str | None:
    """Where participants keep their inbox, if this is the environment of some."""
    with _heard(), suppress(ConfigurationError):
        url = load(ParticipantSettings).inbox_url
        return url.get_secret_value() if url else None
    return None


def _caution(sentence: str) -> Finding:
    detail, _, remedy = sentence.partition("; ")
    return warning(CHECK, detail, remedy or "correct its name, or remove it")


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What loading warns of, instead of its lines on stderr."""
    heard: list[str] = []
    log = logging.getLogger("chassis.settings")
    listener = logging.Handler()
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(listener)
    before, log.propagate = log.propagate, False
    try:
        yield heard
    finally:
        log.propagate = before
        log.removeHandler(listener)
