"""deploy/systemd, judged by systemd itself."""

import re
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from checkers import DEPLOY, accepted, program, refused

from chassis.exit_codes import ExitCode
from chassis.settings import DlqSettings, OrchestratorSettings, ParticipantSettings

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTALLED = "/opt/countermand/bin/saga"
MOST_EXPOSURE = 1.5  # of 10, as `systemd-analyze security` counts
DRAIN = 25  # seconds, at most
KNOWN = {
    f"saga_{name}"
    for settings in (OrchestratorSettings, ParticipantSettings, DlqSettings)
    for name in settings.model_fields
}


@pytest.fixture(params=UNITS, ids=lambda unit: unit.name)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit as it would be installed; a program that exists stands for ours."""
    source: Path = request.param
    installed = tmp_path / source.name.replace("@.", "@payment.")
    installed.write_text(source.read_text().replace(INSTALLED, sys.executable))
    return installed


def _analyze() -> str:
    return program("systemd-analyze", "systemd")


def _verify(unit: Path) -> list[str | Path]:
    return [_analyze(), "verify", "--recursive-errors=yes", "--man=no", unit]


def _service(unit: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keep the case
    parser.read(unit)
    return parser


def test_there_is_a_unit_for_each_program() -> None:
    programs = [
        re.findall(rf"^ExecStart={INSTALLED} (\w+) run", unit.read_text(), re.MULTILINE)
        for unit in UNITS
    ]
    assert programs == [["dlq"], ["orchestrator"], ["participants"]]


def test_systemd_accepts_the_unit(unit: Path) -> None:
    accepted(_verify(unit))


def test_systemds_verdict_can_be_no(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nNoSuchSetting=yes"))
    assert "NoSuchSetting" in refused(_verify(unit))


def test_the_unit_exposes_little(unit: Path) -> None:
    said = accepted([_analyze(), "security", "--offline=true", "--no-pager", unit])
    level = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert level
    assert float(level[1]) <= MOST_EXPOSURE


def test_the_unit_tells_systemd_when_it_is_ready_and_that_it_lives(unit: Path) -> None:
    service = _service(unit)["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0


def test_a_start_that_cannot_succeed_is_not_repeated(unit: Path) -> None:
    final = {int(code) for code in _service(unit)["Service"]["RestartPreventExitStatus"].split()}
    assert final == {ExitCode.USAGE, ExitCode.MISCONFIGURED}


def test_the_unit_leaves_time_to_drain(unit: Path) -> None:
    assert int(_service(unit)["Service"]["TimeoutStopSec"]) > DRAIN


def test_secrets_come_as_credentials_under_names_that_the_programs_know(unit: Path) -> None:
    credentials = re.findall(r"^LoadCredential=(\w+):", unit.read_text(), re.MULTILINE)
    assert "saga_amqp_url" in credentials
    assert set(credentials) <= KNOWN
